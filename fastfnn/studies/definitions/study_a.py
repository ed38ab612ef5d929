"""Study A: batch sizes with and without batch norm and L2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fastfnn.studies.definitions.settings import batchnorm_name
from fastfnn.studies.study import NOT_PUBLISHED, Conventions, Experiment, Published, Row, Study

BATCH_SIZES = (16, 32, 64, 128, 256, 512)
LARGEST_SMALL_BATCH = 64
L2 = 0.05


def _rows(*, batchnorm: bool, l2: float, published: Mapping[int, Published]) -> tuple[Row, ...]:
    """Every batch size at one setting of the others."""
    return tuple(
        Row(
            batch_size=size,
            batchnorm=batchnorm,
            l2=l2,
            published=published.get(size, NOT_PUBLISHED),
            sweep=("l2-" if l2 else "") + ("small-batches" if size <= LARGEST_SMALL_BATCH else "large-batches"),
            point={"batch_size": size, "batchnorm": batchnorm_name(batchnorm)},
            done_as_published=size in published,
        )
        for size in BATCH_SIZES
    )


PLAIN = _rows(
    batchnorm=False,
    l2=0,
    published={
        16: Published(0.9212, seconds=37.5, steps=28_300),
        32: Published(0.8796, seconds=21.1),
        64: Published(seconds=23.8),
        128: Published(0.9063, seconds=42.6),
        256: Published(seconds=40.1),
        512: Published(seconds=32.3),
    },
)
BATCHNORM = _rows(batchnorm=True, l2=0, published={128: Published(0.913, seconds=65.8, steps=29_300)})
PENALTY = _rows(batchnorm=False, l2=L2, published={16: Published(0.9388, seconds=112, steps=88_000)})
BOTH = _rows(batchnorm=True, l2=L2, published={64: Published(0.915, seconds=112)})


def _after(size: int) -> Row:
    """Batch norm where the study had it, but with its true gradient and everything else that it should have."""
    sweep = "small-batches" if size <= LARGEST_SMALL_BATCH else "large-batches"
    point = {"batch_size": size, "batchnorm": "after"}
    label = f"batch size {size}, batch norm after the ReLU"
    return Row(size, NOT_PUBLISHED, sweep, point, batchnorm=True, label=label, done_as_published=False)


def _before(row: Row) -> Row:
    """A row with batch norm under a name that says where it stands."""
    label = f"batch size {row.batch_size}, batch norm before the ReLU"
    return replace(row, published=NOT_PUBLISHED, label=label, done_as_published=False)


PLACEMENT = (PLAIN[0], _before(BATCHNORM[0]), _after(16), PLAIN[3], _before(BATCHNORM[3]), _after(128))

STUDY_A = Study(
    name="study-a",
    title="Study A: batch size, with and without batch norm and L2",
    text=(
        "Batch sizes 16 to 512 in four settings: with and without batch norm, with and without L2. Training stopped "
        "when the validation cost changed by less than 1e-4 between two checks, 100 steps apart. The study printed the "
        "best batch size of each setting, and times for all of the first."
    ),
    conventions=Conventions(epochs=250, tolerance=1e-4),
    experiments=(
        Experiment("plain", "No batch norm, no L2", PLAIN, "Best published: batch size 16.", "batch_size"),
        Experiment("batch-norm", "Batch norm", BATCHNORM, "Best published: batch size 128.", "batch_size"),
        Experiment("l2", "L2 of 0.05", PENALTY, "Best published: batch size 16.", "batch_size"),
        Experiment("both", "Batch norm and L2 of 0.05", BOTH, "Best published: batch size 64.", "batch_size"),
        Experiment(
            "placement",
            "Where batch norm stands",
            PLACEMENT,
            "The study had batch norm after the ReLU. Before it, as it was proposed (Ioffe and Szegedy 2015), units "
            "hardly die: with the initial scale and shift each is open for about half of a batch. Here are both "
            "places, with everything else done properly.",
        ),
    ),
    curves=(PLAIN[0], BATCHNORM[3], PENALTY[0], BOTH[2]),
    comparisons=(*zip(BATCHNORM, PLAIN, strict=True), *zip(BOTH, PENALTY, strict=True)),
    deviations=(
        "The study does not say after how many epochs it would have stopped in any case: 250 here.",
        "Our proper runs without L2 have 15 epochs up to batch size 64 and 25 beyond, so that one takes less than a "
        "thirtieth of the published time; large batches would go on rising, as study D shows with 100 epochs.",
    ),
)
