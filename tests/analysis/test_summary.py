import math

from fastfnn.analysis import describe_settings, summarise


def test_a_line_for_each_setting(results_of):
    results = results_of({16: [0.95, 0.96, 0.97], 64: [0.90, 0.91, 0.92]}, seconds={16: 8.0, 64: 2.0}, test=0.9)
    first, second = summarise(results, target=0.9)
    assert (first.settings, first.seeds, first.statuses) == ({"batch_size": 16}, (0, 1, 2), {"completed": 3})
    assert (first.validation_accuracy.median, first.validation_accuracy.low) == (0.96, 0.95)
    assert first.test_accuracy.median == 0.9
    assert (first.train_seconds.median, first.seconds_per_epoch, first.missing) == (8.0, 2.0, 0)
    assert (first.to_target.seconds, second.to_target.seconds) == (8.0, 2.0)


def test_only_measured_runs_are_measured(results_of):
    status = {(16, 0): "failed", (16, 1): "diverged", (16, 2): "missing"}
    (summary,) = summarise(results_of({16: [0.95] * 4}, status=status))
    assert summary.statuses == {"failed": 1, "diverged": 1, "completed": 1}
    assert (summary.seeds, summary.missing, summary.validation_accuracy.n) == ((3,), 1, 1)


def test_a_setting_without_a_measured_run(results_of):
    (summary,) = summarise(results_of({16: [0.95]}, status={(16, 0): "failed"}))
    assert math.isnan(summary.seconds_per_epoch)
    assert summary.validation_accuracy.label == "no run"
    assert summary.to_target is None


def test_settings_in_words():
    settings = {"batch_size": 64, "l2": 0.0001, "hidden": (20, 7)}
    assert describe_settings(settings, ("batch_size", "l2")) == "batch_size=64, l2=0.0001"
    assert describe_settings(settings) == "batch_size=64, l2=0.0001, hidden=(20, 7)"
    assert describe_settings({}) == "the only setting"
