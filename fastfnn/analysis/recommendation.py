"""Which setting to take, why, and what speaks against trusting it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fastfnn.analysis.intervals import Estimate, compare_paired
from fastfnn.analysis.summary import SettingSummary, describe_settings, summarise
from fastfnn.sweeps.plan import notes, warnings
from fastfnn.sweeps.store import SweepResults

FEW_SEEDS = 6
"""Below this, no difference between two settings can be significant at 5 %."""

# The variance of a median of n normal values is about pi/2 that of their mean.
MEDIAN_FACTOR = math.sqrt(math.pi / 2)


@dataclass(frozen=True)
class Recommendation:
    """A setting and its reasons.

    Attributes:
        settings: value of each axis, or None when nothing can be recommended; `reasons` then say why.
        reasons: sentences, the most important first.
        caveats: sentences to print with the recommendation.
    """

    settings: dict[str, Any] | None
    reasons: list[str]
    caveats: list[str]


def recommend(results: SweepResults, target: float | None = None) -> Recommendation:
    """Recommends a setting by validation accuracy and time, never by test accuracy.

    1. Settings with a diverged run are out, unless every setting has one.
    2. The best is the one with the highest median validation accuracy over seeds.
    3. Settings within one standard error of the best count as equal to it (the one-standard-error rule of Breiman et
       al. 1984, CART, section 3.4.3; see `tolerance`).
    4. Of these, the one with the least median training time to the target accuracy; settings that do not reach it
       come last, and the whole training time decides between equals.
    """
    summaries = summarise(results, target)
    candidates = _candidates(summaries)
    if not candidates:
        return Recommendation(None, [_why_none(results, summaries)], list(_run_caveats(results, summaries)))
    best = max(candidates, key=lambda summary: summary.validation_accuracy.median)
    noise = tolerance(candidates)
    limit = best.validation_accuracy.median - noise
    equals = [summary for summary in candidates if summary.validation_accuracy.median >= limit]
    chosen = min(equals, key=_cost)
    return Recommendation(
        settings=chosen.settings,
        reasons=list(_reasons(results, chosen, best, equals, noise)),
        caveats=[
            *_run_caveats(results, summaries),
            *_seed_caveats(results, chosen, best),
            *_edge_caveats(results, chosen),
            *warnings(results.sweep),
            *notes(results.sweep),
            *_time_caveats(results, equals),
        ],
    )


def tolerance(summaries: Sequence[SettingSummary]) -> float:
    """The standard error of a difference between two settings' median validation accuracies; 0 when seeds are single.

    The standard deviation between seeds is taken as the median over settings of each setting's own, since one from 3
    seeds is rough and a setting where a seed failed to learn has a huge one; n is the median number of seeds. Then
    sqrt(pi/2) * deviation * sqrt(2/n), for medians of about normal values. Pairing by seed is not used here: the
    differences of 3 pairs tell even less about their spread.
    """
    deviations = [deviation for s in summaries if (deviation := _deviation(s.validation_accuracy)) is not None]
    if not deviations:
        return 0.0
    n = statistics.median(len(s.seeds) for s in summaries if len(s.seeds) > 1)
    return MEDIAN_FACTOR * statistics.median(deviations) * math.sqrt(2 / n)


def _deviation(accuracy: Estimate) -> float | None:
    return statistics.stdev(accuracy.values) if accuracy.n > 1 else None


def _candidates(summaries: Sequence[SettingSummary]) -> list[SettingSummary]:
    measured = [summary for summary in summaries if summary.validation_accuracy.n]
    return [summary for summary in measured if not summary.statuses.get("diverged")] or measured


def _cost(summary: SettingSummary) -> tuple[float, float]:
    return (summary.to_target.seconds if summary.to_target else math.inf, summary.train_seconds.median)


def _why_none(results: SweepResults, summaries: Sequence[SettingSummary]) -> str:
    if any(summary.seeds for summary in summaries):
        return (
            "nothing can be recommended: the data has no validation split, and the test split is not for choosing; "
            "split some of the training data off, e.g. validation=0.2"
        )
    found = ", ".join(f"{n} {status}" for status, n in _status_counts(summaries).items()) or "none"
    planned = len(results.runs) + results.missing
    return f"nothing can be recommended: of {planned} planned runs, no run has finished with a result (found: {found})"


def _reasons(
    results: SweepResults, chosen: SettingSummary, best: SettingSummary, equals: Sequence[SettingSummary], noise: float
) -> Iterator[str]:
    def name(summary: SettingSummary) -> str:
        return describe_settings(summary.settings, results.axes)

    if len(results.settings()) == 1:
        yield f"{name(chosen)} is the only setting, with a validation accuracy of {_say(chosen.validation_accuracy)}"
    elif chosen is best:
        yield f"{name(chosen)} has the highest median validation accuracy, {_say(chosen.validation_accuracy)}"
    else:
        yield f"{name(chosen)} has a median validation accuracy of {_say(chosen.validation_accuracy)}"
        yield (
            f"the highest, {_percent(best.validation_accuracy.median)} at {name(best)}, is not distinguishable from "
            "it by these seeds"
        )
    if len(equals) > 1:
        names = "; ".join(name(summary) for summary in equals)
        yield (
            f"{len(equals)} settings are within {_percent(noise)} of the highest, the standard error that the "
            f"differences between seeds give: {names}"
        )
        yield from _time_reason(chosen, best, name(best))
    if chosen.test_accuracy.n:
        yield f"its test accuracy, which was not used to choose, is {_say(chosen.test_accuracy)}"


def _time_reason(chosen: SettingSummary, best: SettingSummary, best_name: str) -> Iterator[str]:
    reached = chosen.to_target
    if reached is None or not math.isfinite(reached.seconds):
        yield f"of these it needs the least training time, {chosen.train_seconds.median:.3g} s (median)"
        return
    text = (
        f"of these it reaches {_percent(reached.target)} validation accuracy in the least training time: median "
        f"{reached.seconds:.3g} s, {reached.epochs:.3g} epochs, {reached.steps:,.0f} steps"
    )
    if chosen is not best and best.to_target and math.isfinite(best.to_target.seconds) and reached.seconds > 0:
        text += f"; {best_name} takes {best.to_target.seconds / reached.seconds:.2g} times as long"
    yield text


def _run_caveats(results: SweepResults, summaries: Sequence[SettingSummary]) -> Iterator[str]:
    counts = _status_counts(summaries)
    where = "; ".join(
        describe_settings(summary.settings, results.axes) for summary in summaries if summary.statuses.get("diverged")
    )
    if counts.get("diverged"):
        yield f"{_runs(counts['diverged'])} diverged, at {where}; such settings are only recommended when all have one"
    for status in ("failed", "interrupted"):
        if counts.get(status):
            yield f"{_runs(counts[status])} {status}; run the sweep again to repeat them"
    if results.missing:
        yield f"{_runs(results.missing)} of the plan not done yet; run the sweep again to complete it"


def _seed_caveats(results: SweepResults, chosen: SettingSummary, best: SettingSummary) -> Iterator[str]:
    n = chosen.validation_accuracy.n
    if n == 1:
        yield "one seed: differences between settings cannot be told from chance; use at least 3, better 6"
    elif n < FEW_SEEDS:
        yield (
            f"{n} seeds: no difference between two settings can be significant at 5 % "
            f"(the smallest p-value is {2.0 ** (1 - n):.2g}); use {FEW_SEEDS} or more to be sure"
        )
    elif chosen is not best:
        verdict = compare_paired(_by_seed(results, best), _by_seed(results, chosen))
        yield f"compared seed by seed, the setting with the highest accuracy and this one are {verdict.describe()}"


def _by_seed(results: SweepResults, summary: SettingSummary) -> dict[int, float]:
    return {run.seed: run.validation.accuracy for run in results.runs_at(summary.settings) if run.measured}


def _edge_caveats(results: SweepResults, chosen: SettingSummary) -> Iterator[str]:
    sizes = results.sweep.grid.get("batch_size", ())
    if len(sizes) > 1 and chosen.settings["batch_size"] in (min(sizes), max(sizes)):
        edge = "smallest" if chosen.settings["batch_size"] == min(sizes) else "largest"
        yield f"batch_size={chosen.settings['batch_size']} is the {edge} that was tried; a {edge[:-3]}er may be better"


def _time_caveats(results: SweepResults, equals: Sequence[SettingSummary]) -> Iterator[str]:
    if any(summary.shared_machine for summary in equals):
        yield "runs shared the machine with others, so times are longer than those of a run alone; compare, don't quote"
    processors = {env.get("cpu") for env in (results.environment, *results.other_environments)}
    if len(processors) > 1:
        yield f"runs were timed on different processors ({', '.join(sorted(map(str, processors)))})"


def _status_counts(summaries: Sequence[SettingSummary]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for summary in summaries:
        for status, n in summary.statuses.items():
            counts[status] = counts.get(status, 0) + n
    return counts


def _runs(n: int) -> str:
    return f"{n} run{'s' * (n != 1)}"


def _percent(accuracy: float) -> str:
    return f"{100 * accuracy:.2f} %"


def _say(accuracy: Estimate) -> str:
    """The median with its interval and what that is."""
    if accuracy.n == 1:
        return f"{_percent(accuracy.median)} (one seed)"
    return f"{_percent(accuracy.median)} ({accuracy.label}: {_percent(accuracy.low)} to {_percent(accuracy.high)})"
