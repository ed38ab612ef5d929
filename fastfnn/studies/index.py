"""The index of the studies' pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastfnn.report.formatting import MISSING
from fastfnn.studies.markdown import table
from fastfnn.studies.tables import TIMES_FASTER

Summary = Mapping[str, Any]

INTRODUCTION = f"""\
# The published studies

```sh
make studies                          # all of them, one run at a time
fastfnn sweep --preset study-a        # one of them; --quick takes one seed instead of five
```

Student projects have trained 784-20-7-5-10 on MNIST again and again, to find out about batch size, batch norm, L2 and
dropout. Here are five of them: every row that they published, the same under their conventions with fastfnn, and done
properly, with the network, the learning rate and the batch sizes that they had. A published accuracy counts as met when
the median over our seeds is not below it, a published time as beaten when one run on one core takes {TIMES_FASTER}
times less.
"""

LESSONS = """
What the studies have in common, and what the pages show:

- **One run with one seed is not a result.** With five units in the last hidden layer, some initial weights leave dead
  units that no training revives; which seeds they are has nothing to do with the batch size.
- **A stopping rule that looks for small changes stops on plateaus.** "Batch size 16 gives 10 %" is such a plateau.
- **Batch norm lost because its gradient was wrong.** Passed through unchanged, without scale and shift, and with the
  statistics of whatever set is passed at prediction, it costs accuracy; done properly it gains.
- **A penalty divided by the batch size changes with it**, so that a sweep over batch sizes sweeps the penalty too.
- **Dropout that drops gradients only is not dropout.** True dropout of a half of five units leaves too few of them.
"""


def index_page(summaries: Sequence[Summary]) -> str:
    """The page; a line for each study, and for each other page that has a summary."""
    studies = [summary for summary in summaries if "tally" in summary]
    others = [summary for summary in summaries if "tally" not in summary]
    text = INTRODUCTION + "\n" + table(_HEADERS, [_line(summary) for summary in studies]) + LESSONS
    for summary in others:
        text += f"\n## [{summary['title']}]({summary['name']}.md)\n\n{summary['text']}\n"
    return text


_HEADERS = ("study", "seeds", "accuracies met", "times beaten", "least times faster", "batch norm does not lose")


def _line(summary: Summary) -> tuple[str, ...]:
    tally = summary["tally"]
    least = tally["least_times_faster"]
    return (
        f"[{summary['title']}]({summary['name']}.md)",
        str(summary["seeds"]),
        f"{tally['met']} of {tally['accuracies']}" if tally["accuracies"] else MISSING,
        f"{tally['beaten']} of {tally['times']}" if tally["times"] else MISSING,
        MISSING if least is None else f"{least:.0f}",
        f"{tally['gains']} of {tally['comparisons']}" if tally["comparisons"] else MISSING,
    )
