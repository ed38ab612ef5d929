"""Study D: batch sizes 16 to 2048, dropout 0.1 to 0.9, batch norm with and without dropout."""

from __future__ import annotations

from dataclasses import replace

from fastfnn.studies.definitions.settings import batchnorm_name
from fastfnn.studies.study import NOT_PUBLISHED, Conventions, Experiment, Published, Row, Study

LARGEST_SMALL_BATCH = 128
PUBLISHED = {  # test accuracy, epochs
    16: (0.1028, 1),
    32: (0.8564, 7),
    64: (0.8718, 13),
    128: (0.9232, 45),
    256: (0.9099, 90),
    512: (0.8892, 100),
    1024: (0.6945, 100),
    2048: (0.2733, 100),
}
BATCH_SIZES = tuple(
    Row(
        size,
        Published(accuracy, epochs=epochs),
        "small-batches" if size <= LARGEST_SMALL_BATCH else "large-batches",
        {"batch_size": size},
    )
    for size, (accuracy, epochs) in PUBLISHED.items()
)
DROPOUT = tuple(
    Row(
        128,
        NOT_PUBLISHED,
        "dropout",
        {"dropout": tenths / 10},
        dropout=tenths / 10,
        done_as_published=tenths % 2 == 1,  # dropping gradients only changes so little that every other one shows it
    )
    for tenths in range(1, 10)
)


def _combination(batchnorm: bool, dropout: float, published: Published) -> Row:
    point = {"batchnorm": batchnorm_name(batchnorm), "dropout": dropout}
    return Row(128, published, "batch-norm", point, batchnorm=batchnorm, dropout=dropout)


COMBINATIONS = (
    _combination(False, 0.0, Published(0.8877, epochs=43, train_accuracy=0.8939, validation_accuracy=0.8881)),
    _combination(False, 0.5, Published(0.8927, epochs=46, train_accuracy=0.8943, validation_accuracy=0.8920)),
    _combination(True, 0.0, Published(0.8374, epochs=31, train_accuracy=0.8331, validation_accuracy=0.8366)),
    _combination(True, 0.5, Published(0.6710, epochs=19, train_accuracy=0.6789, validation_accuracy=0.6767)),
)


_BATCHNORM = {False: "no batch norm", True: "batch norm"}


def _first_layer(batchnorm: bool) -> Row:
    """Dropout of half of the 20 units of the first hidden layer, none in the small ones after it."""
    label = f"{_BATCHNORM[batchnorm]}, 0.5 in the first hidden layer only"
    return Row(
        128,
        NOT_PUBLISHED,
        "dropout-in-first-layer",
        {"batchnorm": batchnorm_name(batchnorm)},
        batchnorm=batchnorm,
        dropout=0.5,
        label=label,
        done_as_published=False,
    )


def _every_layer(row: Row) -> Row:
    """The same row under a name that says where its dropout is."""
    return replace(row, published=NOT_PUBLISHED, label=f"{_BATCHNORM[row.batchnorm]}, 0.5 in every hidden layer")


ROOM = (_every_layer(COMBINATIONS[1]), _first_layer(False), _every_layer(COMBINATIONS[3]), _first_layer(True))

DROPOUT_TEXT = "At batch size 128. Called best: 0.5; as published, only gradients are dropped."

STUDY_D = Study(
    name="study-d",
    title="Study D: batch size, dropout, and batch norm with dropout",
    text=(
        "Batch sizes 16 to 2048 with at most 100 epochs, stopped on the validation cost; then dropout of 0.1 to 0.9 at "
        "batch size 128, of which 0.5 was called best; then batch norm with and without that dropout. Dropout was "
        "applied to the gradients only: the forward pass kept every unit."
    ),
    conventions=Conventions(epochs=100, tolerance=1e-5, gradient_only_dropout=True),
    experiments=(
        Experiment("batch-size", "Batch size", BATCH_SIZES, "Best published: 128.", "batch_size"),
        Experiment(
            "dropout",
            "Dropout",
            DROPOUT,
            DROPOUT_TEXT,
            "dropout",
        ),
        Experiment("combinations", "Batch norm and dropout", COMBINATIONS, "Four runs at batch size 128."),
        Experiment(
            "room",
            "Dropout where there is room",
            ROOM,
            "Half of 5 units leaves 2 or 3, which cannot tell ten classes apart. What the study called dropout left "
            "every unit in place and dropped gradients, so that it could end near its run without. Half of 20 units "
            "leaves 10: with dropout in the first hidden layer only, both of the study's accuracies are beaten.",
        ),
    ),
    curves=COMBINATIONS,
    comparisons=((COMBINATIONS[2], COMBINATIONS[0]), (COMBINATIONS[3], COMBINATIONS[1])),
    starts=1000,
    deviations=("The study does not print its tolerance: 1e-5 here, as in study C.",),
)
