import math

import numpy as np
import pytest

from fastfnn.analysis import Reached, default_target, first_reached, time_to_target


def test_the_first_record_at_or_above_the_target_counts(history_of):
    history = history_of([0.2, 0.9, 0.8, 0.95], seconds=8.0)
    assert first_reached(history, 0.9) == Reached(seconds=4.0, steps=20, epochs=2.0)
    assert first_reached(history, 0.91) == Reached(seconds=8.0, steps=40, epochs=4.0)
    assert first_reached(history, 0.96) is None
    assert first_reached(history, 0.0, "train_accuracy") is None  # all NaN
    assert first_reached({name: np.array([]) for name in history}, 0.5) is None


@pytest.mark.parametrize(
    ("accuracies", "reached", "epochs"),
    [
        ([0.96, 0.96, 0.96], 3, 4),
        ([0.96, 0.96, 0.5], 2, 4),
        ([0.96, 0.5, 0.5], 1, math.inf),
        ([0.96, 0.5], 1, math.inf),
    ],
)
def test_the_median_counts_unreached_as_infinite(results_of, accuracies, reached, epochs):
    results = results_of({16: accuracies})
    found = time_to_target(results, results.runs_at({"batch_size": 16}), 0.95)
    assert (found.reached, found.runs, found.epochs) == (reached, len(accuracies), epochs)
    assert found.steps == found.epochs * 10
    assert found.seconds == found.epochs


def test_diverged_runs_never_get_there_and_failed_ones_do_not_count(results_of):
    results = results_of({16: [0.96] * 4}, status={(16, 0): "diverged", (16, 1): "failed", (16, 2): "interrupted"})
    found = time_to_target(results, results.runs, 0.5)
    assert (found.reached, found.runs) == (1, 2)
    assert found.seconds == math.inf
    nobody = time_to_target(results, [], 0.5)
    assert (nobody.reached, nobody.runs, nobody.seconds) == (0, 0, math.inf)


def test_two_thirds_of_the_settings_reach_the_default_target(results_of):
    # lower medians 0.95, 0.943, 0.90; two of three settings reach 0.943, rounded down to 0.94.
    results = results_of({16: [0.95, 0.95, 0.1], 32: [0.943, 0.99, 0.9], 64: [0.90, 0.90, 0.99]})
    assert default_target(results) == 0.94
    assert default_target(results_of({16: [0.93]})) == 0.93


def test_no_default_target_without_a_validation_set_or_a_run(results_of):
    assert default_target(results_of({16: [math.nan], 32: [math.nan]})) is None
    assert default_target(results_of({16: [0.9]}, status={(16, 0): "missing"})) is None
    assert default_target(results_of({16: [0.9]}, status={(16, 0): "diverged"})) is None
