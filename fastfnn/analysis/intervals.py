"""How far a few seeds can carry a statement: medians with exact intervals, and paired comparisons.

n is the number of seeds. Seeds are taken as independent draws; nothing is assumed about their distribution, which for
small networks is often skewed (now and then a seed fails to learn).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95

MAX_EXACT_PAIRS = 16
"""Up to here all 2^n sign patterns are counted; beyond, as many are drawn."""

# Two sums of the same differences in another order are the same statistic.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Estimate:
    """The median over seeds, and an interval with the words that must be printed with it.

    Attributes:
        median, low, high: in the unit of the values; NaN without values.
        n: number of values.
        coverage: probability that such an interval holds the median of all seeds; 0 for one value.
        label: what the interval is, e.g. "range over 3 seeds".
        values: the values themselves, sorted.
    """

    median: float
    low: float
    high: float
    n: int
    coverage: float
    label: str
    values: tuple[float, ...] = ()


def estimate(values: Iterable[float]) -> Estimate:
    """Median and interval of the median; values that are NaN (not measured) are left out, infinities are kept.

    The interval goes from the k-th smallest to the k-th largest value. It holds the median of the distribution with
    probability 1 - 2 P(Bin(n, 1/2) < k), exactly for continuous values and at least that with ties (David & Nagaraja,
    Order Statistics, 3rd ed., section 7.1). k is the largest with at least 95 %. Fewer than 6 values cannot give 95 %:
    then it is their range, and is called so (3 seeds: 75 %). A bootstrap is not used, since the bootstrap distribution
    of a median of few values has only those few values to stand on and covers less than it says.
    """
    known = tuple(sorted(value for value in values if not math.isnan(value)))
    n = len(known)
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, 0, 0.0, "no run")
    k = _rank(n)
    return Estimate(statistics.median(known), known[k - 1], known[n - k], n, coverage(n, k), _label(n), known)


def coverage(n: int, k: int) -> float:
    """Probability that the k-th smallest and k-th largest of n values enclose the median of their distribution."""
    return 1 - sum(math.comb(n, i) for i in range(k)) / 2.0 ** (n - 1)


def _rank(n: int) -> int:
    """The largest k with enough coverage, or 1 (the range) when there is none."""
    k = 1
    while k < n / 2 and coverage(n, k + 1) >= CONFIDENCE:
        k += 1
    return k


def _label(n: int) -> str:
    if n == 1:
        return "one seed"
    if coverage(n, 1) < CONFIDENCE:
        return f"range over {n} seeds"
    return f"{CONFIDENCE:.0%} interval of the median over {n} seeds".replace("%", " %")


@dataclass(frozen=True)
class PairedComparison:
    """Two settings over their common seeds, which share initialisation and validation set.

    Attributes:
        seeds: the common seeds, sorted.
        differences: first minus second, one a seed.
        median: of the differences, NaN without common seeds.
        p_value: two-sided, of the exact sign-flip test.
        smallest_p: the smallest p-value that this number of seeds can give at all.
    """

    seeds: tuple[int, ...]
    differences: tuple[float, ...]
    median: float
    p_value: float
    smallest_p: float

    def distinguishable(self, alpha: float = 0.05) -> bool:
        """Whether the difference is significant at level `alpha`."""
        return self.p_value <= alpha

    def describe(self, alpha: float = 0.05) -> str:
        """The verdict in words, which says so when the seeds are too few for any other."""
        seeds = f"{len(self.seeds)} seed{'s' * (len(self.seeds) != 1)}"
        if self.distinguishable(alpha):
            return f"distinguishable with {seeds} (p = {self.p_value:.2g})"
        if self.smallest_p > alpha:
            return f"not distinguishable with {seeds}, which cannot give a p-value below {self.smallest_p:.2g}"
        return f"not distinguishable with {seeds} (p = {self.p_value:.2g})"


def compare_paired(first: Mapping[int, float], second: Mapping[int, float]) -> PairedComparison:
    """Compares two settings by seed: `first` and `second` map seeds to values; NaN is left out.

    If the settings were equal, the sign of each seed's difference would be a fair coin. The p-value is the part of all
    2^n sign patterns whose sum of differences is at least as large, in absolute value, as the one observed (Fisher
    1935, The Design of Experiments, section 21). It cannot be below 2^(1-n): 0.25 with 3 seeds, 0.031 with 6.
    """
    common = sorted(set(first) & set(second))
    seeds = tuple(seed for seed in common if not math.isnan(first[seed] - second[seed]))
    differences = tuple(first[seed] - second[seed] for seed in seeds)
    return PairedComparison(
        seeds=seeds,
        differences=differences,
        median=statistics.median(differences) if differences else math.nan,
        p_value=_sign_flip_p(np.array(differences)),
        smallest_p=min(1.0, 2.0 ** (1 - len(differences))),
    )


def _sign_flip_p(differences: NDArray[np.float64]) -> float:
    if not differences.any():
        return 1.0
    sums = np.abs(_signs(len(differences)) @ differences)
    return float(np.mean(sums >= sums[0] * (1 - _ROUNDING)))


def _signs(n: int) -> NDArray[np.float64]:
    """Sign patterns of shape (patterns, n), the observed one (all +1) first."""
    if n <= MAX_EXACT_PAIRS:
        bits = np.arange(2**n)[:, None] >> np.arange(n) & 1
    else:
        bits = np.random.default_rng(0).integers(0, 2, size=(2**MAX_EXACT_PAIRS, n))
        bits[0] = 0
    return np.where(bits == 1, -1.0, 1.0)
