"""Study C: 250 epochs with batch norm or L2, and the shapes of everything."""

from __future__ import annotations

from fastfnn.studies.study import Conventions, Experiment, Published, Row, Study

BASELINE = Row(128, Published(0.934, 235, 244, 91_425, 0.973, 0.930), "batch-norm", {"batchnorm": "off"})
BATCHNORM = Row(
    128, Published(0.807, 158, 124, 46_325, 0.807, 0.808), "batch-norm", {"batchnorm": "before"}, batchnorm=True
)
PENALTY = Row(128, Published(0.932, 257, 250, 93_750, 0.976, 0.935), "l2", {"l2": 1e-4}, l2=0.01)

STUDY_C = Study(
    name="study-c",
    title="Study C: long runs, with batch norm or L2",
    text=(
        "Batch size 128, at most 250 epochs, stopped when the validation cost changed by less than 1e-5 between two "
        "checks, 100 steps apart. The study printed the shapes of parameters and activations and a cost plot for each "
        "experiment."
    ),
    conventions=Conventions(epochs=250, tolerance=1e-5),
    experiments=(
        Experiment("experiments", "Three experiments", (BASELINE, BATCHNORM, PENALTY), "Baseline, batch norm, L2."),
    ),
    curves=(BASELINE, BATCHNORM, PENALTY),
    comparisons=((BATCHNORM, BASELINE),),
    shapes=True,
    deviations=("The study does not say how large its L2 was: 0.01 here.",),
)
