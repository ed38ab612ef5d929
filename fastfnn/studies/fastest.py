"""How fast can it be? The smallest training time to 98 % with any network of the preset `fast-98`, on any data.

Settings are chosen by validation accuracy; the test set is only reported.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastfnn.analysis import SettingSummary, summarise
from fastfnn.analysis.targets import TARGET_STEP
from fastfnn.data import Dataset
from fastfnn.studies.runner import View, sweep_keeping
from fastfnn.sweeps.presets import load_preset
from fastfnn.sweeps.records import SweepResults
from fastfnn.sweeps.store import Store

PRESET = "fast-98"
TARGET = 0.98
SHARE_THAT_GETS_THERE = 0.1


@dataclass(frozen=True)
class Answer:
    """What the sweep says about one data set.

    Attributes:
        target: the validation accuracy that was asked for.
        summaries: of every setting, in the order of the grid.
        fastest: of the settings whose median reaches the target, the one that trains in the least time.
    """

    results: SweepResults
    target: float
    summaries: tuple[SettingSummary, ...]
    fastest: SettingSummary | None

    @property
    def name(self) -> str:
        """Of the data set."""
        return str(self.results.data["name"])

    @classmethod
    def of(cls, results: SweepResults) -> Answer:
        """Summarises the settings and finds the fastest that gets there."""
        summaries = tuple(summarise(results))
        target = target_of(summaries)
        return cls(results, target, summaries, fastest(summaries, target))


def target_of(summaries: Sequence[SettingSummary]) -> float:
    """98 %; where too few settings reach that, the highest multiple of half a per cent that enough of them do."""
    medians = sorted((_score(summary) for summary in summaries), reverse=True)
    enough = medians[min(len(medians) - 1, math.ceil(SHARE_THAT_GETS_THERE * len(medians)))] if medians else 0.0
    return TARGET if enough >= TARGET else round(math.floor(enough / TARGET_STEP + 1e-9) * TARGET_STEP, 6)


def fastest(summaries: Sequence[SettingSummary], target: float) -> SettingSummary | None:
    """The setting with the least median training time among those whose median validation accuracy is high enough."""
    there = [summary for summary in summaries if _score(summary) >= target]
    return min(there, key=lambda summary: summary.train_seconds.median, default=None)


def _score(summary: SettingSummary) -> float:
    """Median validation accuracy; 0 where a run diverged or none has ended."""
    median = summary.validation_accuracy.median
    return 0.0 if summary.statuses.get("diverged") or math.isnan(median) else median


def run_fastest(
    data: Dataset, folder: str | Path, seeds: Sequence[int] | None = None, jobs: int = 1, view: View | None = None
) -> Answer:
    """Does the runs of the preset that the folder does not have for this data set.

    Args:
        data: the data set.
        folder: receives a store named after the data set.
        seeds: by default those of the preset.
        jobs: runs at a time; more than one make all times longer.
        view: shows what is going on.
    """
    sweep = load_preset(PRESET)
    store = Path(folder) / f"{data.name}.sqlite"
    return Answer.of(
        sweep_keeping(data, sweep if seeds is None else sweep.replace(seeds=tuple(seeds)), store, jobs, view)
    )


def answers(folder: str | Path) -> list[Answer]:
    """Of every data set that the folder has a store of, MNIST first."""
    found = []
    for path in sorted(Path(folder).glob("*.sqlite"), key=lambda path: (path.stem != "mnist", path.stem)):
        with Store.open(path) as store:
            found.append(Answer.of(store.load()))
    return found
