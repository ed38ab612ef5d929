import math
from dataclasses import replace

import pytest

from fastfnn.analysis import recommend, summarise
from fastfnn.analysis.recommendation import tolerance
from fastfnn.config import TrainingConfig


def text_of(sentences):
    return "\n".join(sentences)


def test_the_most_accurate_wins_when_the_difference_is_clear(results_of):
    results = results_of(
        {16: [0.90, 0.901, 0.902], 64: [0.95, 0.951, 0.952], 256: [0.80, 0.801, 0.802]}, seconds={16: 1.0, 64: 9.0}
    )
    found = recommend(results)
    assert found.settings == {"batch_size": 64}
    assert found.reasons[0] == (
        "batch_size=64 has the highest median validation accuracy, 95.10 % (range over 3 seeds: 95.00 % to 95.20 %)"
    )
    assert "within" not in text_of(found.reasons)


def test_the_fastest_wins_among_those_that_seeds_cannot_tell_apart(results_of):
    results = results_of(
        {16: [0.940, 0.95, 0.960], 32: [0.941, 0.951, 0.961], 64: [0.939, 0.949, 0.959], 256: [0.80, 0.81, 0.82]},
        seconds={16: 8.0, 32: 6.0, 64: 2.0, 256: 1.0},
    )
    found = recommend(results, target=0.90)
    assert found.settings == {"batch_size": 64}
    reasons = text_of(found.reasons)
    assert "the highest, 95.10 % at batch_size=32, is not distinguishable" in reasons
    assert "3 settings are within 1.02 % of the highest" in reasons
    assert "reaches 90.00 % validation accuracy in the least training time: median 2 s, 4 epochs, 40 steps" in reasons
    assert "batch_size=32 takes 3 times as long" in reasons


def test_tolerance_by_hand(results_of):
    # standard deviations 0.01, 0.01, 0.5/sqrt(3): their median is 0.01; sqrt(pi/2) * 0.01 * sqrt(2/3)
    results = results_of({16: [0.94, 0.95, 0.96], 32: [0.90, 0.91, 0.92], 64: [0.9, 0.4, 0.9]})
    assert tolerance(summarise(results)) == pytest.approx(math.sqrt(math.pi / 3) * 0.01)


def test_the_test_set_has_no_say(results_of):
    accuracies = {16: [0.90, 0.901, 0.902], 64: [0.95, 0.951, 0.952]}
    results = results_of(accuracies)
    better_test = tuple(
        replace(run, test=replace(run.test, accuracy=0.99 if run.settings["batch_size"] == 16 else 0.1))
        for run in results.runs
    )
    found = recommend(replace(results, runs=better_test))
    assert found.settings == {"batch_size": 64}
    assert "its test accuracy, which was not used to choose, is 10.00 %" in text_of(found.reasons)


def test_a_setting_that_diverged_is_not_recommended(results_of):
    accuracies = {16: [0.90, 0.901, 0.902], 64: [0.95, 0.951, 0.952]}
    found = recommend(results_of(accuracies, status={(64, 0): "diverged"}))
    assert found.settings == {"batch_size": 16}
    assert "1 run diverged, at batch_size=64" in text_of(found.caveats)


def test_unless_all_did(results_of):
    accuracies = {16: [0.90, 0.901, 0.902], 64: [0.95, 0.951, 0.952]}
    found = recommend(results_of(accuracies, status={(16, 0): "diverged", (64, 0): "diverged"}))
    assert found.settings == {"batch_size": 64}
    assert "2 runs diverged" in text_of(found.caveats)


def test_one_seed(results_of):
    found = recommend(results_of({16: [0.94], 32: [0.95], 64: [0.93]}, seconds={16: 1.0}))
    assert found.settings == {"batch_size": 32}
    assert "95.00 % (one seed)" in found.reasons[0]
    assert "one seed: differences between settings cannot be told from chance" in text_of(found.caveats)


def test_few_seeds_are_called_few(results_of):
    found = recommend(results_of({16: [0.94, 0.95, 0.96]}))
    assert "3 seeds: no difference between two settings can be significant at 5 % (the smallest p-value is 0.25)" in (
        text_of(found.caveats)
    )


def test_six_seeds_are_compared_seed_by_seed(results_of):
    noise = [0.0, 0.03, 0.01, 0.04, 0.02, 0.05]
    accuracies = {16: [0.90 + e for e in noise], 64: [0.901 + e for e in noise]}
    found = recommend(results_of(accuracies, seconds={16: 1.0, 64: 4.0}))
    assert found.settings == {"batch_size": 16}
    assert "compared seed by seed" in text_of(found.caveats)
    assert "(p = 0.031)" in text_of(found.caveats)


def test_one_setting(results_of):
    found = recommend(results_of({16: [0.94, 0.95, 0.96]}))
    assert found.settings == {"batch_size": 16}
    assert found.reasons[0].startswith("batch_size=16 is the only setting")


def test_nothing_finished(results_of):
    status = {(16, 0): "failed", (16, 1): "missing", (32, 0): "failed", (32, 1): "diverged"}
    found = recommend(results_of({16: [0.9, 0.9], 32: [0.9, 0.9]}, status=status))
    assert found.settings is None
    assert found.reasons == [
        "nothing can be recommended: of 4 planned runs, no run has finished with a result (found: 2 failed, 1 diverged)"
    ]
    caveats = text_of(found.caveats)
    assert "2 runs failed; run the sweep again" in caveats
    assert "1 run of the plan not done yet" in caveats
    empty = recommend(results_of({16: [0.9]}, status={(16, 0): "missing"}))
    assert "found: none" in empty.reasons[0]


def test_no_validation_set(results_of):
    found = recommend(results_of({16: [math.nan] * 3, 32: [math.nan] * 3}))
    assert found.settings is None
    assert "no validation split" in found.reasons[0]


def test_what_makes_a_comparison_less_than_clean_is_said(results_of):
    training = TrainingConfig(l2=1e-4, l2_convention="per_batch", batchnorm="after")
    results = results_of({16: [0.95] * 3, 64: [0.9] * 3}, training=training, status={(16, 2): "missing"})
    shared = replace(
        results,
        runs=tuple(replace(run, shared_machine=True) for run in results.runs),
        other_environments=({"cpu": "another"},),
    )
    caveats = text_of(recommend(shared).caveats)
    for words in (
        "l2_convention='per_batch'",
        "batchnorm takes its statistics over the batch",
        "the learning rate is the same for every batch size",
        "batch_size=16 is the smallest that was tried; a smaller may be better",
        "runs shared the machine",
        "different processors (another, one)",
        "1 run of the plan not done yet",
    ):
        assert words in caveats
