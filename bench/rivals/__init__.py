"""The peers of the benchmark, a module for each framework, and the processes that they are timed in.

This module names them and imports none, so that a process holds only the framework that it times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OURS = "fastfnn"


@dataclass(frozen=True)
class Rival:
    """Where a peer's code is, and what it needs.

    Attributes:
        package: the distribution that must be installed.
        factory: module:class, called with data, configuration and number of threads.
        rows: the form in which it takes the features.
        copies: how many times it holds the dense rows, its reordered ones included.
    """

    package: str
    factory: str
    rows: Literal["own", "dense", "csr"]
    copies: int = 0


RIVALS = {
    OURS: Rival("fastfnn", "rivals.fastfnn_peer:FastfnnPeer", "own"),
    "numpy": Rival("numpy", "rivals.numpy_peers:NumpyPeer", "dense", 1),
    "numpy-csr": Rival("scipy", "rivals.numpy_peers:NumpyCsrPeer", "csr"),
    "torch": Rival("torch", "rivals.torch_peers:TorchPeer", "dense", 1),
    "torch-compile": Rival("torch", "rivals.torch_compiled:TorchCompiledPeer", "dense", 1),
    "torch-csr": Rival("torch", "rivals.torch_peers:TorchCsrPeer", "csr"),
    "torch-bag": Rival("torch", "rivals.torch_peers:TorchBagPeer", "csr"),
    "jax": Rival("jax", "rivals.jax_peers:JaxPeer", "dense", 2),
    "jax-csr": Rival("jax", "rivals.jax_peers:JaxCsrPeer", "csr"),
    "scikit-learn": Rival("scikit-learn", "rivals.scikit_peers:ScikitPeer", "dense", 2),
    "scikit-learn-csr": Rival("scikit-learn", "rivals.scikit_peers:ScikitCsrPeer", "csr"),
}


def default_rivals(*, sparse_data: bool, dense_rows: bool) -> list[str]:
    """The peers for a workload: all forms for sparse data, and for dense data the dense ones and scikit-learn's CSR.

    The other compressed forms are 1.3 to 5 times as slow as dense ones on MNIST, a fifth of which is not zero.
    `dense_rows` says that fastfnn reads dense rows, and then nobody gets compressed ones.
    """
    if sparse_data and not dense_rows:
        return [name for name in RIVALS if name != OURS]
    compressed = [] if dense_rows else ["scikit-learn-csr"]
    return [name for name, rival in RIVALS.items() if rival.rows == "dense"] + compressed
