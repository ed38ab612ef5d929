"""`fastfnn predict`: labels or probabilities for a file of examples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastfnn.cli.options import OUTPUT, JsonOption, setting_option
from fastfnn.cli.output import json_text, note, require_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EXAMPLES = """
fastfnn predict model.safetensors t10k-images-idx3-ubyte.gz | head
fastfnn predict model.safetensors images.npy --proba --out probabilities.csv
fastfnn predict model.safetensors t10k-images-idx3-ubyte --labels t10k-labels-idx1-ubyte --out labels.txt
"""


@dataclass(frozen=True)
class Options:
    """What `predict` has."""

    proba: Annotated[bool, typer.Option("--proba", help="CSV: label, then the probability of each class.")] = False
    labels: Annotated[
        Path | None,
        typer.Option(help="True labels (IDX, NPY, or text with one a line): tell the accuracy.", metavar="FILE"),
    ] = None
    out: Annotated[Path | None, setting_option("Write here.", "standard output", OUTPUT, "FILE")] = None
    json: JsonOption = False


def predict(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A model that fastfnn train saved.", show_default=False)
    ],
    examples: Annotated[
        Path, typer.Argument(metavar="EXAMPLES", help="IDX images, CSV, NPZ, NPY or SVMlight rows.", show_default=False)
    ],
    options: Options,
) -> None:
    """Predict the label of every example of a file, one a line.

    Features are in the units of the training data: whole pixels 0 to 255 for MNIST.
    """
    from fastfnn.data import read_features
    from fastfnn.network import Network

    require_folder(options.out)
    network = Network.load(model)
    probabilities = network.predict_proba(read_features(examples, n_features=network.n_features))
    predicted = network.classes[probabilities.argmax(axis=1)]
    accuracy = None if options.labels is None else _accuracy(predicted, options.labels)
    if options.json:
        shown = probabilities if options.proba else None
        text = json_text(_document(network.classes, predicted, shown, accuracy))
    else:
        text = _csv(network.classes, predicted, probabilities) if options.proba else _lines(predicted)
    _deliver(text, options.out)
    if accuracy is not None and not options.json:
        note(f"accuracy {100 * accuracy:.2f} % of {len(predicted)} examples")


def _deliver(text: str, out: Path | None) -> None:
    if out is None:
        typer.echo(text, nl=False)
        return
    from fastfnn.atomic import write_atomically

    write_atomically(out, text)


def _lines(predicted: NDArray[Any]) -> str:
    return "".join(f"{label}\n" for label in predicted.tolist())


def _csv(classes: NDArray[Any], predicted: NDArray[Any], probabilities: NDArray[Any]) -> str:
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["label", *classes.tolist()])
    for label, row in zip(predicted.tolist(), probabilities.tolist(), strict=True):
        writer.writerow([label, *(f"{p:.6g}" for p in row)])
    return text.getvalue()


def _document(
    classes: NDArray[Any], predicted: NDArray[Any], probabilities: NDArray[Any] | None, accuracy: float | None
) -> dict[str, Any]:
    document: dict[str, Any] = {"classes": classes, "labels": predicted}
    if probabilities is not None:
        document["probabilities"] = probabilities
    return document if accuracy is None else document | {"accuracy": accuracy}


def _accuracy(predicted: NDArray[Any], path: Path) -> float:
    from fastfnn.errors import DataError

    labels = _read_labels(path)
    if len(labels) != len(predicted):
        raise DataError(f"{path}: expected {len(predicted)} labels, one for each example, found {len(labels)}")
    return float((labels == predicted.astype(str)).mean())


def _read_labels(path: Path) -> NDArray[np.str_]:
    """Labels as text, so that files of any type compare with the model's."""
    import numpy as np

    from fastfnn.data import read_idx
    from fastfnn.errors import DataError

    if path.suffix in (".csv", ".txt"):
        try:
            return np.array(path.read_text(encoding="utf-8").splitlines(), dtype=str)
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: expected one label a line: {error}") from None
    labels = np.load(path, allow_pickle=False) if path.suffix == ".npy" else read_idx(path)
    if labels.ndim != 1:
        raise DataError(f"{path}: expected labels in one dimension, found {labels.ndim}")
    return np.asarray(labels.astype(str))
