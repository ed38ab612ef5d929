"""What a benchmark leaves behind: one JSON document with every time, the settings, the machine and the versions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from fastfnn import kernels
from fastfnn.atomic import write_atomically
from fastfnn.kernels.machine_code import sources_digest
from fastfnn.kernels.processor import MATRICES, REGISTER_BYTES
from fastfnn.sweeps.environment import describe_environment

DIGITS = 8  # of the digest of the kernels


def document(
    benchmark: str,
    settings: Mapping[str, Any],
    measurements: Sequence[Mapping[str, Any]],
    *,
    packages: Sequence[str] = (),
) -> dict[str, Any]:
    """A document of a benchmark that ran alone; `packages` are others whose versions matter.

    Its environment names the kernels too, so that results of other ones do not pass for theirs, and the registers that
    they use.
    """
    versions = {name: metadata.version(name) for name in packages}
    versions["registers"] = f"vectors of {REGISTER_BYTES} bytes{', matrices' * MATRICES}"
    versions["kernels"] = sources_digest(Path(kernels.__file__).parent)[:DIGITS]
    return {
        "benchmark": benchmark,
        "environment": describe_environment(jobs=1) | versions,
        "settings": dict(settings),
        "measurements": [dict(measurement) for measurement in measurements],
    }


def write_document(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a document, whole or not at all."""
    write_atomically(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
