"""Study E: a grid over batch size, L2 and batch norm."""

from __future__ import annotations

from fastfnn.studies.definitions.settings import batchnorm_name
from fastfnn.studies.study import NOT_PUBLISHED, Conventions, Experiment, Published, Row, Study

PROPER_L2 = {0.0: 0.0, 0.01: 1e-4, 0.04: 4e-4}
BEST = Published(0.9293, epochs=100, train_accuracy=0.9423, validation_accuracy=0.9273)


def _row(batch_size: int, l2: float, batchnorm: bool) -> Row:
    return Row(
        batch_size=batch_size,
        batchnorm=batchnorm,
        l2=l2,
        published=BEST if (batch_size, l2, batchnorm) == (32, 0.01, False) else NOT_PUBLISHED,
        sweep="grid",
        point={"batch_size": batch_size, "l2": PROPER_L2[l2], "batchnorm": batchnorm_name(batchnorm)},
    )


PLAIN, BATCHNORM = (
    tuple(_row(size, l2, batchnorm) for size in (32, 64, 128) for l2 in PROPER_L2) for batchnorm in (False, True)
)

STUDY_E = Study(
    name="study-e",
    title="Study E: batch size, L2 and batch norm",
    text=(
        "Batch sizes 32, 64 and 128 with L2 of 0, 0.01 and 0.04, each with and without batch norm, up to 100 epochs, "
        "stopped when the validation cost had not improved by 1e-5 for 100 steps. The study printed its best: batch "
        "size 32, L2 of 0.01."
    ),
    conventions=Conventions(epochs=100, tolerance=1e-5, rule="improvement"),
    experiments=(
        Experiment("plain", "Without batch norm", PLAIN, "Best published: batch size 32, L2 of 0.01.", "l2"),
        Experiment("batch-norm", "With batch norm", BATCHNORM, "No numbers were published.", "l2"),
    ),
    curves=(PLAIN[0], PLAIN[1], BATCHNORM[0], BATCHNORM[1]),
    comparisons=tuple(zip(BATCHNORM, PLAIN, strict=True)),
    deviations=("Whether the best row had batch norm is not said: it is taken to have none.",),
)
