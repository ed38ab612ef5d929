"""`fastfnn data`, and the documents of `--json`."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np

from fastfnn.cli.output import finite


def test_list(fastfnn) -> None:
    names = [line.split()[0] for line in fastfnn("data", "list").out.splitlines()]
    assert names == ["name", "mnist", "fashion-mnist", "digits"]
    documents = json.loads(fastfnn("data", "list", "--json").out)["datasets"]
    assert documents["fashion-mnist"]["offline"] is False


def test_list_and_report_do_without_numba() -> None:
    code = "import sys; from fastfnn.cli import main; main(['data', 'list']); assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_info(fastfnn) -> None:
    lines = dict(line.split(None, 1) for line in fastfnn("data", "info", "digits").out.splitlines())
    assert lines["examples"] == "train 1,150, validation 288, test 359"
    assert lines["classes"] == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    document = json.loads(fastfnn("data", "info", "digits", "--validation", "0.5", "--json").out)
    assert document["examples"]["validation"] == 719


def test_fetch_of_what_is_here(fastfnn) -> None:
    outcome = fastfnn("data", "fetch", "digits")
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "fastfnn: digits needs no download\n")


def test_documents_hold_finite_numbers() -> None:
    value = {"a": float("nan"), "b": (1, np.float64("inf")), "c": np.arange(2), 3: [np.int64(4)]}
    assert finite(value) == {"a": None, "b": [1, None], "c": [0, 1], "3": [4]}
