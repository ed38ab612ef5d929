"""The page of `fast-98`: the answer on every data set that it was asked of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fastfnn.analysis import SettingSummary
from fastfnn.report.formatting import MISSING, axis_title, number, percent, setting, settings_text
from fastfnn.report.formatting import seconds as seconds_text
from fastfnn.report.style import FAINT, INK, categorical, legend_below, new_figure, plain_log_axis, say, style
from fastfnn.studies.fastest import PRESET, Answer
from fastfnn.studies.figures.series import accuracy_axis
from fastfnn.studies.markdown import figure, interval, table
from fastfnn.studies.pages import machine_section

ROWS = 12
TITLE = "Best you can do: the smallest training time to 98 %"


def fastest_page(found: Sequence[Answer], command: str) -> str:
    """The whole page; the figure is in a folder of the preset's name."""
    return "\n".join(
        [
            f"# {TITLE}\n",
            f"```sh\n{command}\n```\n",
            _introduction(found[0]) + "\n",
            figure(f"{PRESET}/figures/time", "Validation accuracy against training time, a dot for each setting"),
            *(_section(answer) for answer in found),
            _elsewhere(found),
            machine_section([answer.results.environment for answer in found]),
        ]
    )


def _introduction(answer: Answer) -> str:
    sweep = answer.results.sweep
    axes = "; ".join(f"{axis_title(name)} {_values(values)}" for name, values in sweep.grid.items())
    seeds = len(sweep.seeds)
    return (
        f"Any fully connected network, any option, one core: the preset `{PRESET}` compares {len(answer.summaries)} "
        f"settings ({axes}), each with {seeds} seed{'s' * (seeds != 1)}, one run at a time. A setting is chosen by "
        "its median validation accuracy and its median training time; the test set is only reported. Where too few "
        "settings reach 98 %, the target is what a tenth of them do. "
        f"`fastfnn sweep --preset {PRESET}` is the same sweep with the usual report, and takes the usual options."
    )


def _values(values: Sequence[Any]) -> str:
    """The values of an axis; those that are lists of numbers are hyphenated."""
    texts = [setting(value) for value in values]
    return ", ".join(text.replace(",", "-") for text in texts)


def _section(answer: Answer) -> str:
    chosen = answer.fastest
    if chosen is None:
        return f"## {answer.name}\n\nNo setting reaches {percent(answer.target, 1)} on the validation set.\n"
    return f"## {answer.name}\n\n{answer_text(answer)}\n\n{_table(answer)}"


def answer_text(answer: Answer) -> str:
    """The fastest setting in a sentence."""
    chosen = answer.fastest
    if chosen is None:
        return f"No setting reaches {percent(answer.target, 1)} on the validation set."
    return (
        f"{seconds_text(chosen.train_seconds.median)} of training to {percent(answer.target, 1)} on the validation "
        f"set, with {settings_text(chosen.settings, answer.results.axes)}: {_accuracy(chosen)} % on the validation "
        f"set, {interval(chosen.test_accuracy, _per_cent)} % on the test set ({chosen.test_accuracy.label})."
    )


def _table(answer: Answer) -> str:
    there = [summary for summary in answer.summaries if summary.validation_accuracy.median >= answer.target]
    ordered = sorted(there, key=lambda summary: summary.train_seconds.median)[:ROWS]
    lines = [
        (
            settings_text(summary.settings, answer.results.axes),
            interval(summary.train_seconds, lambda value: number(value, 3)),
            _accuracy(summary),
            interval(summary.test_accuracy, _per_cent),
        )
        for summary in ordered
    ]
    head = f"The fastest {len(ordered)} of the {len(there)} settings that get there:\n\n"
    return head + table(("setting", "training s", "validation %", "test %"), lines)


def _elsewhere(found: Sequence[Answer]) -> str:
    """How the fastest setting of each data set does on the others."""
    if len(found) < 2:
        return ""
    names = [answer.name for answer in found]
    lines = []
    for answer in found:
        if answer.fastest is not None:
            places = [_place(other, answer.fastest) for other in found]
            lines.append(
                (f"fastest on {answer.name}", settings_text(answer.fastest.settings, answer.results.axes), *places)
            )
    headers = ("", "setting", *(f"on {name}: training s, validation %" for name in names))
    text = "## The answer depends on the data\n\nThe fastest setting of each data set, on all of them; in brackets "
    targets = ", ".join(f"{percent(answer.target, 1)} on {answer.name}" for answer in found)
    return text + f"whether it reaches the target there ({targets}).\n\n" + table(headers, lines)


def _place(answer: Answer, chosen: SettingSummary) -> str:
    same = [summary for summary in answer.summaries if summary.settings == chosen.settings]
    if not same:
        return MISSING
    score = same[0].validation_accuracy.median
    there = "yes" if score >= answer.target else "no"
    return f"{number(same[0].train_seconds.median, 3)}, {_per_cent(score)} ({there})"


def _accuracy(summary: SettingSummary) -> str:
    return interval(summary.validation_accuracy, _per_cent)


def _per_cent(share: float) -> str:
    return percent(share).removesuffix(" %")


def time_figure(found: Sequence[Answer]) -> Figure:
    """Median validation accuracy against median training time, a dot for each setting, a panel for each data set."""
    with style():
        figure_ = new_figure(max(6.6, 4.6 * len(found)), 4.4)
        panels = list(figure_.subplots(1, len(found), squeeze=False)[0])
        for panel, answer in zip(panels, found, strict=True):
            _draw(panel, answer)
        panels[0].set_ylabel("validation accuracy (%)")
        legend_below(figure_, panels[0].get_legend_handles_labels()[0])
    return figure_


def _draw(panel: Axes, answer: Answer) -> None:
    layers = list(dict.fromkeys(summary.settings["hidden"] for summary in answer.summaries))
    for hidden, colour in zip(layers, categorical(len(layers)), strict=True):
        of_it = [each for each in answer.summaries if each.settings["hidden"] == hidden and each.seeds]
        xs = [each.train_seconds.median for each in of_it]
        ys = [each.validation_accuracy.median for each in of_it]
        label = "hidden " + ", ".join(map(str, hidden))
        panel.plot(xs, ys, "o", color=colour, markersize=5, alpha=0.7, label=label)
    if not any(summary.seeds for summary in answer.summaries):
        say(panel, "no run ended as planned")
        return
    panel.axhline(answer.target, color=FAINT, linestyle="--", linewidth=1.2, label="target")
    if answer.fastest:
        place = (answer.fastest.train_seconds.median, answer.fastest.validation_accuracy.median)
        panel.plot(*place, "o", markersize=13, markerfacecolor="none", color=INK, label="fastest that gets there")
    panel.set(title=f"{answer.name}, {percent(answer.target, 1)}", xlabel="training time of a run (s)")
    plain_log_axis(panel, "x")
    accuracy_axis(panel)
