"""Random streams as functions of the seed, and learning rates worked by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastfnn.config import TrainingConfig
from fastfnn.schedules import learning_rates
from fastfnn.streams import dropout_keys, epoch_order, initialisation_generator

ORDER = [257, 285, 223, 457, 256]
KEYS = [1961512366, 4143158044, 548754650]
DRAWS = [1.4436909546981256, -0.8959459763857414]

seeds = st.integers(0, 2**70)


@given(seeds, st.integers(0, 1000), st.lists(st.integers(0, 10**9), unique=True, min_size=1, max_size=50))
@settings(max_examples=50, deadline=None)
def test_order_is_a_permutation_of_the_split(seed: int, epoch: int, examples: list[int]) -> None:
    indices = np.array(sorted(examples), dtype=np.int64)
    order = epoch_order(seed, epoch, indices, shuffle=True)
    np.testing.assert_array_equal(np.sort(order), indices)
    np.testing.assert_array_equal(order, epoch_order(seed, epoch, indices, shuffle=True))
    np.testing.assert_array_equal(epoch_order(seed, epoch, indices, shuffle=False), indices)
    assert order.dtype == np.int64


def test_order_differs_by_epoch_and_seed() -> None:
    indices = np.arange(100)
    orders = [epoch_order(seed, epoch, indices, shuffle=True) for seed in range(3) for epoch in range(3)]
    assert len({tuple(order) for order in orders}) == 9
    np.testing.assert_array_equal(indices, np.arange(100))


def test_order_is_what_it_was() -> None:
    """A change here changes every stored result."""
    assert epoch_order(0, 0, np.arange(1000), shuffle=True)[:5].tolist() == ORDER
    assert dropout_keys(0, 0, 3).tolist() == KEYS
    assert initialisation_generator(0).normal(size=2).tolist() == DRAWS


def test_streams_are_independent() -> None:
    """No two of them begin alike, whatever the seed or the epoch."""
    keys = [dropout_keys(seed, epoch, 3) for seed in range(4) for epoch in range(4)]
    assert len(np.unique(keys)) == 48
    first = {initialisation_generator(seed).normal() for seed in range(4)}
    assert len(first) == 4


def test_keys_of_the_first_layers_do_not_depend_on_the_depth() -> None:
    np.testing.assert_array_equal(dropout_keys(5, 2, 2), dropout_keys(5, 2, 4)[:2])
    assert len(dropout_keys(5, 2, 0)) == 0


# ---------------------------------------------------------------------------------------------------------- schedules


def rates(steps_per_epoch: int, first: int, last: int, **options: Any) -> list[float]:
    config = TrainingConfig(**{"learning_rate": 0.8, **options})
    return [float(rate) for rate in learning_rates(config, steps_per_epoch, first, last)]


def test_constant() -> None:
    assert rates(5, 3, 7) == [0.8] * 4
    assert rates(5, 3, 3) == []


def test_step_reduces_after_whole_epochs() -> None:
    options = {"lr_schedule": "step", "lr_step_epochs": 2, "lr_step_factor": 0.5}
    assert rates(2, 0, 10, **options) == [0.8] * 4 + [0.4] * 4 + [0.2] * 2


def test_cosine_from_the_full_rate_to_nearly_nothing() -> None:
    values = rates(2, 0, 4, lr_schedule="cosine", epochs=2)
    assert values == pytest.approx([0.8, 0.4 * (1 + math.sqrt(0.5)), 0.4, 0.4 * (1 - math.sqrt(0.5))], rel=1e-15)


def test_warm_up_rises_linearly() -> None:
    assert rates(4, 0, 6, warmup_epochs=1) == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.8], rel=1e-15)
    assert rates(4, 0, 3, warmup_epochs=0.5) == pytest.approx([0.4, 0.8, 0.8], rel=1e-15)


def test_cosine_begins_after_the_warm_up() -> None:
    values = rates(2, 0, 6, lr_schedule="cosine", warmup_epochs=1, epochs=3)
    decay = [0.8, 0.4 * (1 + math.sqrt(0.5)), 0.4, 0.4 * (1 - math.sqrt(0.5))]
    assert values == pytest.approx([0.4, 0.8, *decay], rel=1e-15)


def test_warm_up_longer_than_the_run() -> None:
    assert rates(1, 0, 2, lr_schedule="cosine", warmup_epochs=4, epochs=2) == pytest.approx([0.2, 0.4], rel=1e-15)


def test_lr_rule_scales_every_step() -> None:
    options = {"lr_rule": "linear", "batch_size": 64, "lr_reference_batch_size": 128}
    assert rates(4, 0, 3, warmup_epochs=0.5, **options) == pytest.approx([0.2, 0.4, 0.4], rel=1e-15)


@given(st.sampled_from(["constant", "step", "cosine"]), st.integers(1, 20), st.integers(0, 60), st.floats(0, 3))
@settings(max_examples=60, deadline=None)
def test_rates_do_not_depend_on_where_a_stretch_begins(kind: str, per_epoch: int, cut: int, warmup: float) -> None:
    options = {"lr_schedule": kind, "warmup_epochs": warmup, "epochs": 3, "lr_step_epochs": 1}
    total = 3 * per_epoch
    cut = min(cut, total)
    whole = rates(per_epoch, 0, total, **options)
    assert whole == rates(per_epoch, 0, cut, **options) + rates(per_epoch, cut, total, **options)
    assert all(0 <= rate <= 0.8 for rate in whole)
