"""How the studies' settings are written in configurations."""

from __future__ import annotations

from fastfnn.config import Batchnorm


def batchnorm_name(batchnorm: bool) -> Batchnorm:
    """Batch norm stands before the ReLU, where it keeps units from dying; the studies had it after."""
    return "before" if batchnorm else "off"
