"""The pages of the Python API: which modules they are of, and whether the docstrings are fit to be read there."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from doc_pages import ROOT
from make_api import INTERNAL, public_modules

import fastfnn

KNOWN = {f"fastfnn.{name}" for name in ("analysis", "data", "reference", "report", "sweeps")}


def public_names(module: str) -> list[str]:
    """What a module offers: `__all__`, or what it defines without an underscore."""
    imported = importlib.import_module(module)
    defined = [name for name, value in vars(imported).items() if getattr(value, "__module__", None) == module]
    return list(getattr(imported, "__all__", [name for name in defined if not name.startswith("_")]))


def public_objects() -> Iterator[tuple[str, Any]]:
    """Functions, classes and their methods and properties that the pages show, by dotted name."""
    for module in public_modules():
        for name in public_names(module):
            value = getattr(importlib.import_module(module), name)
            if inspect.isclass(value) or inspect.isfunction(value):
                yield f"{module}.{name}", value
            if inspect.isclass(value):
                yield from ((f"{module}.{name}.{method}", found) for method, found in members(value))


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """Methods and properties that a class itself defines; not the functions that are defaults of its fields."""
    fields = {field.name for field in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else set()
    for name, value in vars(cls).items():
        kind = isinstance(value, property | cached_property | classmethod | staticmethod) or inspect.isfunction(value)
        if kind and not name.startswith("_") and name not in fields:
            yield name, value


OBJECTS = dict(public_objects())
FUNCTIONS = {
    name: function
    for name, value in OBJECTS.items()
    if inspect.isfunction(function := getattr(value, "__func__", value))
}


def arguments_section(docstring: str) -> list[str]:
    """The names in the section `Args:` of a docstring; one line may begin with several."""
    section = re.search(r"^Args:\n((?: {4}.*\n?|\n)+)", inspect.cleandoc(docstring), re.MULTILINE)
    heads = re.findall(r"^ {4}(\*{0,2}\w+(?:, \w+)*):", section[1], re.MULTILINE) if section else []
    return [name.lstrip("*") for head in heads for name in head.split(", ")]


def parameters(function: Callable[..., Any]) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name not in ("self", "cls")]


def test_the_modules_are_all_there() -> None:
    modules = set(public_modules())
    assert KNOWN | {"fastfnn"} <= modules
    assert set(public_modules()) & {f"fastfnn.{name}" for name in INTERNAL} == set()
    packages = {f"fastfnn.{found.name}" for found in pkgutil.iter_modules(fastfnn.__path__) if found.ispkg}
    assert packages - modules == {f"fastfnn.{name}" for name in INTERNAL}


@pytest.mark.parametrize("name", OBJECTS)
def test_has_a_docstring_of_its_own(name: str) -> None:
    docstring = OBJECTS[name].__doc__ or ""
    generated = dataclasses.is_dataclass(OBJECTS[name]) and docstring.startswith(f"{name.rpartition('.')[2]}(")
    assert docstring.strip()
    assert not generated


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_that_are_described_are_those_of_the_signature(name: str) -> None:
    """In their order, and none is left out: some stand behind another on its line."""
    docstring, signature = FUNCTIONS[name].__doc__ or "", parameters(FUNCTIONS[name])
    described = arguments_section(docstring)
    assert described == [each for each in signature if each in described]
    assert not described or [each for each in signature if not re.search(rf"\b{each}\b", docstring)] == []


MAIN = [name for name in FUNCTIONS if re.fullmatch(r"fastfnn\.([a-z_]+|[A-Z]\w+\.(from|to|load|save)\w*)", name)]


@pytest.mark.parametrize("name", MAIN)
def test_arguments_of_the_main_functions_are_described_or_named(name: str) -> None:
    """In a section of their own, or in the sentences."""
    docstring = FUNCTIONS[name].__doc__ or ""
    if len(parameters(FUNCTIONS[name])) > 2 and not arguments_section(docstring):
        assert [each for each in parameters(FUNCTIONS[name]) if not re.search(rf"\b{each}\b", docstring)] == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors_that_are_raised_are_documented(name: str) -> None:
    """By the function, or by its class for all methods."""
    raised = set(re.findall(r"^ +raise (\w+Error)\(", inspect.getsource(FUNCTIONS[name]), re.MULTILINE))
    documented = (FUNCTIONS[name].__doc__ or "") + (OBJECTS.get(name.rpartition(".")[0], name).__doc__ or "")
    assert {error for error in raised if error not in documented} == set()


def test_the_pages_are_made(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(ROOT / "docs" / "make_api.py"), "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "index.html").exists()
    for module in public_modules():
        page = (tmp_path / f"{module.replace('.', '/')}.html").read_text(encoding="utf-8")
        shown = {name for name in public_names(module) if f'id="{name}"' in page}
        documented = {name for name in public_names(module) if f"{module}.{name}" in OBJECTS}
        assert documented <= shown, module
