import math

import numpy as np
import pytest

from fastfnn.analysis import compare_paired, estimate
from fastfnn.analysis.intervals import coverage


def test_three_seeds_have_a_range_which_is_called_so():
    found = estimate([0.93, 0.91, 0.94])
    assert (found.median, found.low, found.high, found.n) == (0.93, 0.91, 0.94, 3)
    assert found.coverage == 0.75
    assert found.label == "range over 3 seeds"
    assert found.values == (0.91, 0.93, 0.94)


@pytest.mark.parametrize(
    ("n", "low", "high", "covers"),
    [(6, 1, 6, 62 / 64), (8, 1, 8, 254 / 256), (9, 2, 8, 1 - 20 / 512), (12, 3, 10, 1 - 2 * 79 / 4096)],
)
def test_from_six_seeds_on_the_interval_covers_95_percent(n, low, high, covers):
    found = estimate(range(n, 0, -1))
    assert (found.low, found.high) == (low, high)
    assert found.coverage == pytest.approx(covers)
    assert found.label == f"95 % interval of the median over {n} seeds"


def test_the_stated_coverage_is_what_samples_show():
    samples = np.sort(np.random.default_rng(0).exponential(size=(20_000, 9)), axis=1)
    inside = (samples[:, 1] <= math.log(2)) & (math.log(2) <= samples[:, 7])
    assert inside.mean() == pytest.approx(coverage(9, 2), abs=0.005)


def test_one_value_none_and_not_measured():
    assert estimate([0.5]).label == "one seed"
    assert (estimate([0.5]).low, estimate([0.5]).high, estimate([0.5]).coverage) == (0.5, 0.5, 0)
    assert estimate([math.nan, 1.0]).n == 1
    nothing = estimate([])
    assert nothing.label == "no run"
    assert math.isnan(nothing.median)
    assert estimate([1.0, 2.0, math.inf]).high == math.inf


def test_paired_comparison_by_hand():
    # differences 3, -1, 2; |sums| over the signs: 6, 4, 2, 0, each twice; four of eight are at least 4.
    found = compare_paired({0: 3.0, 1: 1.0, 2: 2.0, 9: 7.0}, {0: 0.0, 1: 2.0, 2: 0.0, 8: 1.0})
    assert (found.seeds, found.differences, found.median) == ((0, 1, 2), (3.0, -1.0, 2.0), 2.0)
    assert (found.p_value, found.smallest_p) == (0.5, 0.25)


def test_three_seeds_can_never_be_significant_and_six_can():
    three = compare_paired(dict.fromkeys(range(3), 0.9), dict.fromkeys(range(3), 0.1))
    assert (three.p_value, three.distinguishable()) == (0.25, False)
    assert three.describe() == "not distinguishable with 3 seeds, which cannot give a p-value below 0.25"
    six = compare_paired({seed: 0.9 + seed / 100 for seed in range(6)}, dict.fromkeys(range(6), 0.1))
    assert (six.p_value, six.distinguishable()) == (2 / 64, True)
    assert six.describe() == "distinguishable with 6 seeds (p = 0.031)"


def test_equal_settings_and_no_common_seed():
    same = compare_paired(dict.fromkeys(range(8), 0.9), dict.fromkeys(range(8), 0.9))
    assert (same.p_value, same.describe()) == (1.0, "not distinguishable with 8 seeds (p = 1)")
    apart = compare_paired({0: 1.0}, {1: 1.0})
    assert (apart.p_value, apart.smallest_p, apart.seeds) == (1.0, 1.0, ())
    assert math.isnan(apart.median)
    assert compare_paired({0: math.nan, 1: 1.0}, {0: 1.0, 1: 0.5}).seeds == (1,)


def test_the_p_value_agrees_with_scipy():
    from scipy.stats import permutation_test

    differences = np.random.default_rng(1).normal(0.3, 1, size=10)
    expected = permutation_test((differences,), np.sum, permutation_type="samples", n_resamples=np.inf)
    found = compare_paired(dict(enumerate(differences)), dict.fromkeys(range(10), 0.0))
    assert found.p_value == pytest.approx(expected.pvalue)


def test_many_seeds_are_sampled_and_reproducible():
    first = dict(enumerate(np.random.default_rng(2).normal(0.5, 1, size=24)))
    zero = dict.fromkeys(range(24), 0.0)
    assert compare_paired(first, zero).p_value == compare_paired(first, zero).p_value
    assert 0 < compare_paired(first, zero).p_value < 0.2
