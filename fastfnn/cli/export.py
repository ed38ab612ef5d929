"""`fastfnn export`: a model as a file that other programs read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from fastfnn.cli.options import OUTPUT, JsonOption, setting_option
from fastfnn.cli.output import print_facts, print_json, require_folder

EXAMPLES = """
fastfnn export model.safetensors model.onnx
fastfnn export model.safetensors model.onnx --input-dtype uint8    # whole pixels, as they are in image files
"""

SUFFIX = ".onnx"


@dataclass(frozen=True)
class Options:
    """What `export` has."""

    input_dtype: Annotated[
        str | None,
        setting_option("What the model takes as features.", "float32", OUTPUT, "float32|float64|uint8"),
    ] = None
    json: JsonOption = False


def export(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A model that fastfnn train saved.", show_default=False)
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The ONNX file to write.", show_default=False)],
    options: Options,
) -> None:
    """Write a model as an ONNX file, which many programs read.

    It takes features in the units of the training data, any number of rows, and gives probabilities and labels. Batch
    norm and the feature scale are folded into its linear layers. Needs the package onnx: pip install 'fastfnn[onnx]'.
    """
    from fastfnn.errors import ConfigError
    from fastfnn.network import Network

    if out.suffix != SUFFIX:
        raise ConfigError(f"{out}: expected a file name that ends in {SUFFIX}")
    require_folder(out)
    network = Network.load(model)
    size = len(network.to_onnx(out, input_dtype=options.input_dtype or "float32"))
    if options.json:
        facts = {"layers": network.layer_sizes, "classes": network.classes, "bytes": size, "written": str(out)}
        print_json(facts)
    else:
        print_facts({"layers": "-".join(map(str, network.layer_sizes)), "written": f"{out}, {size} bytes"})
