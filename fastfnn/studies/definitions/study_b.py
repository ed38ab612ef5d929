"""Study B: a baseline, batch norm and L2, and what L2 does to the weights."""

from __future__ import annotations

from fastfnn.studies.study import NOT_PUBLISHED, Conventions, Experiment, Row, Study

BASELINE = Row(128, NOT_PUBLISHED, "batch-norm", {"batchnorm": "off"})
BATCHNORM = Row(128, NOT_PUBLISHED, "batch-norm", {"batchnorm": "before"}, batchnorm=True)
PENALTY = Row(128, NOT_PUBLISHED, "l2", {"l2": 5e-4}, l2=0.05)

STUDY_B = Study(
    name="study-b",
    title="Study B: regularisers, their curves and their weights",
    text=(
        "Three experiments with one network: a baseline, batch norm after the ReLU, and L2, with early stopping on the "
        "validation accuracy. The study showed curves of accuracy and cost, and compared the weights of the "
        "regularised and the unregularised model; its numbers were not published with it."
    ),
    conventions=Conventions(epochs=100, tolerance=1e-5, metric="validation_accuracy"),
    experiments=(
        Experiment(
            "regularisers", "Three experiments", (BASELINE, BATCHNORM, PENALTY), "Baseline, batch norm, L2 of 0.05."
        ),
    ),
    curves=(BASELINE, BATCHNORM, PENALTY),
    comparisons=((BATCHNORM, BASELINE),),
    weights=(BASELINE, PENALTY),
    deviations=("Batch size (128), epochs (at most 100), tolerance (1e-5) and L2 (0.05) are ours.",),
)
