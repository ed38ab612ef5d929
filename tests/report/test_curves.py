"""Learning curves."""

from __future__ import annotations

import numpy as np

from fastfnn.report.curves import MAX_POINTS, learning_curves, median_curve, sweep_curves, thinned
from fastfnn.results import Evaluation, History
from fastfnn.sweeps.store import SweepResults


def test_every_run_has_a_curve_in_every_panel(results: SweepResults) -> None:
    panels = sweep_curves(results).axes
    assert len(panels) == 6
    for panel in panels:
        runs = [line for line in panel.lines if line.get_gid() == "run"]
        assert len(runs) == len(results.runs)
        assert len(panel.lines) == len(runs) + len(results.settings())  # and a median for each setting
    run = results.runs[0]
    drawn = next(line for line in panels[1].lines if line.get_gid() == "run")
    np.testing.assert_array_equal(drawn.get_xdata(), results.history(run.run_id)["step"])
    np.testing.assert_array_equal(drawn.get_ydata(), results.history(run.run_id)["validation_accuracy"])


def test_other_axes_are_line_styles(two_axes: SweepResults) -> None:
    figure = sweep_curves(two_axes)
    assert {line.get_linestyle() for line in figure.axes[0].lines} == {"-", "--"}
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["batch size 16", "batch size 64", "batch size 256", "L2 0", "L2 0.0001"]


def test_long_curves_are_thinned_to_their_ends() -> None:
    x = np.arange(10_000)
    xs, ys = thinned(x, np.where(x == 9_999, np.nan, x))
    assert (len(xs), xs[0], xs[-1]) == (MAX_POINTS, 0, 9_998)
    np.testing.assert_array_equal(xs, ys)


def test_the_median_ends_with_the_shortest_run() -> None:
    curves = [{"step": np.arange(n), "y": np.full(n, float(n))} for n in (3, 5, 4)]
    xs, ys = median_curve(curves, "step", "y")
    assert xs.tolist() == [0, 1, 2]
    assert ys.tolist() == [4, 4, 4]


def test_one_run_shows_both_splits() -> None:
    history = History()
    for step in range(1, 4):
        history.append(step, step / 2, step / 10, Evaluation(1 / step, 1, 0.5), Evaluation(2 / step, 1, 0.4))
    accuracy, cost = learning_curves(history).axes
    assert [line.get_label() for line in cost.lines] == ["training", "validation"]
    assert cost.lines[1].get_ydata().tolist() == [2, 1, 2 / 3]
    assert accuracy.lines[0].get_xdata().tolist() == [0.5, 1, 1.5]


def test_an_empty_history_is_said() -> None:
    assert [panel.texts[0].get_text() for panel in learning_curves(History()).axes] == ["nothing was recorded"] * 2
