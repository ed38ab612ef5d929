"""Where runs are timed: what a reader needs to judge the times, and nothing that names a person or a machine."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info

from fastfnn._version import __version__
from fastfnn.sweeps.store import utc_now

_BLAS_FACTS = ("internal_api", "version", "architecture", "threading_layer")


def describe_environment(jobs: int | None) -> dict[str, Any]:
    """Versions, processor, cores, linear algebra, runs at a time and the start; no host, user or path names."""
    return {
        "fastfnn": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "numpy": metadata.version("numpy"),
        "numba": metadata.version("numba"),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "blas": _blas(),
        "jobs": jobs,
        "started_at": utc_now(),
    }


def usable_cores() -> int:
    """Cores that this process may use, which is fewer than the machine has under taskset or in a container."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_model() -> str:
    """The processor's name, as well as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _blas() -> list[dict[str, Any]]:
    libraries = [info for info in threadpool_info() if info.get("user_api") == "blas"]
    return [{fact: info[fact] for fact in _BLAS_FACTS if info.get(fact)} for info in libraries]
