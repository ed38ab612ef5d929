"""`FNNClassifier`: the trainer for people who have scikit-learn code."""

from fastfnn.estimator.classifier import FNNClassifier

__all__ = ["FNNClassifier"]
