"""The page of a study, in Markdown, with its figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fastfnn.studies import tables
from fastfnn.studies.figures.comparison import comparison_figure, grid_figure
from fastfnn.studies.figures.curves import curves_figure
from fastfnn.studies.figures.weights import weights_figure
from fastfnn.studies.findings import sentences
from fastfnn.studies.markdown import bullets, figure, table
from fastfnn.studies.networks import WeightSummary, dead_at_the_start
from fastfnn.studies.outcomes import Outcome, accuracy_of
from fastfnn.studies.results import StudyResults
from fastfnn.studies.study import Conventions, Row

HOW_TO_READ = """\
*Published* is what the study printed: one run, one seed, its own machine. *As published* is the same by
`fastfnn.textbook`, in float64: the penalty divided by the batch size, batch norm after the ReLU whose gradient is
passed through unchanged, without scale and shift and with the statistics of whatever is passed, and the study's
stopping rule. *Properly* is `fastfnn.train`: the penalty does not depend on the batch size, batch norm stands before
the ReLU and has its true gradient, scale, shift and running statistics, and the stopping rule waits and keeps the best
check. Network, batch size and learning rate are the study's.

Numbers are medians over the seeds, in brackets the {interval}. Times are those of single runs, one at a time on one
core: training with the checks of the stopping rule, without compilation; loading is in those of *as published* only. In
figures, accuracies are spread by the size of the error: 93 and 95 % stand about as far apart as 30 and 50 %.
"""

MACHINE = ("cpu", "usable_cores", "jobs", "system", "python", "numpy", "numba", "fastfnn", "started_at")


def study_figures(results: StudyResults) -> dict[str, Figure]:
    """Every figure by the name of its file."""
    study = results.study
    drawn = {e.name: comparison_figure(results, e) for e in study.experiments if e.axis != "l2"}
    if grids := [e for e in study.experiments if e.axis == "l2"]:
        drawn["grid"] = grid_figure(results, grids)
    drawn["curves"] = curves_figure(results, study.curves)
    if study.weights:
        without, having = (_weights(results, row) for row in study.weights)
        drawn["weights"] = weights_figure(_pooled(without), _pooled(having))
    return drawn


def _weights(results: StudyResults, row: Row) -> list[list[NDArray[Any]]]:
    """The weights of each seed's network, layer by layer."""
    return [results.network(run).parameters.weights for run in results.records(row) if run.measured]


def _pooled(of_seeds: list[list[NDArray[Any]]]) -> list[NDArray[Any]]:
    """The weights of each layer, of all seeds together."""
    return [np.concatenate([weights.ravel() for weights in layer]) for layer in zip(*of_seeds, strict=True)]


def study_page(results: StudyResults, command: str) -> str:
    """The whole page; figures are in a folder of the study's name."""
    study = results.study
    return "\n".join(
        [
            f"# {study.title}\n",
            f"```sh\n{command}\n```\n",
            study.text + "\n",
            conventions_text(study.conventions) + "\n",
            *([" ".join(study.deviations) + "\n"] if study.deviations else []),
            HOW_TO_READ.format(interval=interval_label(results)),
            "## What came out\n",
            bullets(sentences(results)),
            *_comparison(results),
            *_experiments(results),
            *_batchnorm(results),
            "## Learning curves\n",
            figure(f"{study.name}/figures/curves", "Accuracy and cost of training and validation"),
            *(section for applies, make in _PARTS if applies(results) for section in make(results)),
            *_learning(results),
            machine_section(results.environments),
        ]
    )


def interval_label(results: StudyResults) -> str:
    """What the brackets hold, such as `range over 5 seeds`."""
    outcomes = results.proper(results.study.rows[0])
    return accuracy_of(outcomes).label if len(outcomes) > 1 else "range (one seed has none)"


def conventions_text(conventions: Conventions) -> str:
    """The study's conventions in a sentence."""
    metric = conventions.metric.replace("_", " ")
    stop = (
        f"changes by less than {conventions.tolerance:g} between two checks"
        if conventions.rule == "plateau"
        else f"has not improved by {conventions.tolerance:g} for {conventions.patience * conventions.every} steps"
    )
    layers = "-".join(map(str, conventions.hidden))
    return (
        f"784-{layers}-10, learning rate {conventions.learning_rate:g}, at most {conventions.epochs} epochs, 48,000 "
        f"training and 12,000 validation images; training ends when the {metric} {stop}, with a check every "
        f"{conventions.every} steps."
    )


def _comparison(results: StudyResults) -> Iterator[str]:
    published = [row for row in results.study.rows if tables.is_published(row)]
    if published:
        yield "## Every published row\n"
        yield tables.comparison_table(results, published)
        if tables.has_splits(published):
            yield tables.splits_table(results, [row for row in published if row.published.train_accuracy])


def _experiments(results: StudyResults) -> Iterator[str]:
    name = results.study.name
    for experiment in results.study.experiments:
        yield f"## {experiment.title}\n"
        yield experiment.text + "\n"
        if experiment.axis != "l2":
            yield figure(f"{name}/figures/{experiment.name}", f"Test accuracy and time: {experiment.title}")
        if not all(map(tables.is_published, experiment.rows)):
            yield tables.comparison_table(results, experiment.rows)
    if any(experiment.axis == "l2" for experiment in results.study.experiments):
        yield figure(f"{name}/figures/grid", "Test accuracy against L2 for each batch size")


def _batchnorm(results: StudyResults) -> Iterator[str]:
    pairs = results.study.comparisons
    if pairs and all(results.proper(row) for pair in pairs for row in pair):
        smallest = tables.compare_batchnorm(results, *pairs[0]).smallest_p
        yield "## Does batch norm lose?\n"
        yield (
            "Our proper runs, with batch norm and without, seed by seed: initial weights and validation set are the "
            f"same. The p-value of the sign-flip test cannot be below {smallest:.2g} with these seeds.\n"
        )
        yield tables.batchnorm_table(results, pairs)


def _shapes(results: StudyResults) -> Iterator[str]:
    sizes = [results.data.n_features, *results.study.conventions.hidden, results.data.n_classes]
    yield "## Shapes\n"
    yield "Examples are rows, as in `fastfnn.train`; in the textbook's notation every shape is turned round.\n"
    yield tables.shapes_table(sizes, results.study.rows[0].batch_size)


def _weight_section(results: StudyResults) -> Iterator[str]:
    assert results.study.weights is not None
    summaries = [
        [[WeightSummary.of(weights) for weights in layers] for layers in _weights(results, row)]
        for row in results.study.weights
    ]
    yield "## Weights with and without L2\n"
    yield figure(f"{results.study.name}/figures/weights", "Histograms of the weights of every layer")
    yield "The weights of all seeds' networks in the figure; medians over the seeds in the table.\n"
    yield tables.weights_table(*summaries)


def _starts(results: StudyResults) -> Iterator[str]:
    study = results.study
    config = next(iter(study.sweeps.values())).training
    counts = dead_at_the_start(results.data, config, study.starts)
    yield "## Dead before the first step\n"
    yield (
        f"Of {study.starts:,} seeds, so many have so many dead units in the last hidden layer of the initial network "
        "(He-normal weights, biases 0, no batch norm):\n"
    )
    headers = ("dead units", *(f"{n}" for n in range(len(counts))))
    yield table(headers, [("seeds %", *(f"{100 * count / study.starts:.1f}" for count in counts))])


_PARTS: tuple[tuple[Callable[[StudyResults], bool], Callable[[StudyResults], Iterator[str]]], ...] = (
    (lambda results: results.study.shapes, _shapes),
    (lambda results: results.study.starts > 0, _starts),
    (lambda results: results.study.weights is not None, _weight_section),
)


def _learning(results: StudyResults) -> Iterator[str]:
    def troubled(outcomes: list[Outcome]) -> bool:
        return any(outcome.collapsed or sum(outcome.dead_units[-1:]) for outcome in outcomes)

    rows = [row for row in results.study.rows if troubled(results.proper(row)) or troubled(results.textbook(row))]
    if rows:
        yield "## Seeds that learn little, and why\n"
        yield (
            "A ReLU unit that is zero for every image gets no gradient and stays dead. With five units in the last "
            "hidden layer, a few dead ones cost classes, and five dead ones leave nothing but the frequencies of the "
            "classes: an accuracy near 11 %, on a plateau where a stopping rule that looks for small changes fires at "
            "once. Dead units are given for each seed, in order.\n"
        )
        yield tables.learning_table(results, rows)


def machine_section(environments: list[dict[str, Any]]) -> str:
    """Processor, versions, runs at a time; where sweeps differ, all that there were."""
    facts: dict[str, dict[str, None]] = {}
    for environment in environments:
        for name in MACHINE:
            if name in environment:
                facts.setdefault(name, {})[str(environment[name])] = None
    rows = [(name.replace("_", " "), "; ".join(values)) for name, values in facts.items()]
    return "## Machine and versions\n\n" + table(("", ""), rows)
