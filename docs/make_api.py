"""Makes the pages of the Python API from the docstrings.

    python docs/make_api.py             # `make docs`: docs/api/index.html and a page for each public module
    python docs/make_api.py --out DIR

Which modules: `public_modules`.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import warnings
from pathlib import Path

import pdoc

import fastfnn

FOLDER = Path(__file__).parent / "api"
INTERNAL = {"benchmarks", "cli", "kernels"}
"""Packages that say what they offer to the rest of fastfnn only."""

BASES = {"config"}
"""Modules with classes that public ones inherit from, so that their methods are shown somewhere."""


def public_modules() -> list[str]:
    """`fastfnn`, the modules that it offers by name, what else has an `__all__`, and the bases, sorted."""
    names = [module.name for module in pkgutil.iter_modules(fastfnn.__path__)]
    offered = [name for name in names if name not in INTERNAL and is_public(name)]
    return ["fastfnn", *(f"fastfnn.{name}" for name in sorted(offered))]


def is_public(name: str) -> bool:
    """Whether a module of fastfnn is one that people import from."""
    if name.startswith("_"):
        return False
    return name in {*fastfnn.__all__, *BASES} or hasattr(importlib.import_module(f"fastfnn.{name}"), "__all__")


def import_lazy_names(module: str) -> None:
    """Puts into a module what it imports on first use, since pdoc reads modules without asking them."""
    imported = importlib.import_module(module)
    for name in getattr(imported, "__all__", ()):
        setattr(imported, name, getattr(imported, name))


def make(folder: Path) -> list[str]:
    """Writes the pages, and returns the names of the modules."""
    modules = public_modules()
    for module in modules:
        import_lazy_names(module)
    pdoc.render.configure(docformat="google", footer_text=f"fastfnn {fastfnn.__version__}", show_source=False)
    # What only a type checker can resolve is shown as it is written.
    warnings.filterwarnings("ignore", "Error parsing type annotation", UserWarning)
    with_their_package = {f"fastfnn.{name}" for name in fastfnn.__all__}
    pdoc.pdoc(*(name for name in modules if name not in with_their_package), output_directory=folder)
    return modules


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="DIR", help="(default: docs/api)")
    folder = parser.parse_args().out
    print(f"{folder / 'index.html'}: {', '.join(make(folder))}")


if __name__ == "__main__":
    main()
