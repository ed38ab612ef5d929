"""The examples of the page run as written."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "estimator.md").read_text(encoding="utf-8")


def test_examples(tmp_path: Path) -> None:
    """One after the other in one process, since starting one takes longer than the examples."""
    examples = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) >= 4
    code = "import warnings\nwarnings.simplefilter('error')\nwarnings.filterwarnings('ignore', 'max_iter')\n"
    command = [sys.executable, "-c", code + "\n".join(examples)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    scores = [float(line.split()[0]) for line in done.stdout.splitlines() if line[0].isdigit()]
    assert len(scores) == 5
    assert min(scores[:4]) > 0.9, done.stdout


def test_every_parameter_of_scikit_learn_is_there_or_named() -> None:
    from inspect import signature

    from sklearn.neural_network import MLPClassifier

    from fastfnn import FNNClassifier

    missing = set(signature(MLPClassifier).parameters) - set(signature(FNNClassifier).parameters)
    assert missing == {"max_fun"}  # of "lbfgs"
    same = set(signature(MLPClassifier).parameters) - missing
    mine, theirs = FNNClassifier().get_params(), MLPClassifier().get_params()
    assert {name: mine[name] for name in same} == {name: theirs[name] for name in same}
