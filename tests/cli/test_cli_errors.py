"""A user's mistake is one line on stderr and exit status 2."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MISTAKES = [
    ("train --batch-size x --data digits", "batch_size: input should be a valid integer"),
    ("train --batch-size 0 --data digits", "batch_size: "),
    ("train --bach-size 3", "No such option: --bach-size"),
    ("train --validation half", "--validation"),
    ("train --data nowhere.csv", "nowhere.csv"),
    ("train --config missing.toml", "missing.toml"),
    ("train --out missing/model.safetensors", "missing: no such folder"),
    ("train --curves curves.pdf", "curves.pdf"),
    ("train --no-early-stopping --early-stopping-patience 3", "--no-early-stopping"),
    ("sweep --preset nothing", "preset: expected one of"),
    ("sweep --preset default --config sweep.toml", "--preset and --config"),
    ("sweep --batch-size 16..8", "16..8"),
    ("sweep --seeds 0", "seeds: "),
    ("sweep --batchnorm sideways", "batchnorm: "),
    ("sweep --jobs 0 --data digits --epochs 1", "jobs: expected at least 1, found 0"),
    ("report missing", "missing/runs.sqlite"),
    ("predict model.safetensors images.idx", "model.safetensors"),
    ("predict model.safetensors", "EXAMPLES"),
    ("data info nowhere", "nowhere"),
    ("data fetch minst", "did you mean 'mnist'?"),
]


@pytest.mark.parametrize(("arguments", "part"), MISTAKES)
def test_mistakes(fastfnn, arguments: str, part: str) -> None:
    outcome = fastfnn(*arguments.split())
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith("fastfnn: error: ")
    assert outcome.err.count("\n") == 1
    assert part in outcome.err


def test_unknown_keys_of_a_file_are_refused(fastfnn, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("bach_size = 3\n")
    outcome = fastfnn("train", "--config", "run.toml")
    assert outcome.status == 2
    assert outcome.err == "fastfnn: error: run.toml: bach_size: unknown field; did you mean 'batch_size'?\n"


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    command = f"set -o pipefail; {sys.executable} -m fastfnn data list | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""
