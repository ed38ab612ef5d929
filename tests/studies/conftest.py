"""The tiny study, run once for all tests."""

from __future__ import annotations

import pytest
from runs import X, Y
from tiny_study import FakeCourse, make_study

from fastfnn.data import Dataset
from fastfnn.studies.results import StudyResults
from fastfnn.studies.runner import run_study
from fastfnn.studies.study import Study


@pytest.fixture
def study() -> Study:
    return make_study()


@pytest.fixture(scope="session")
def tiny_data() -> Dataset:
    return Dataset.from_arrays(X, Y, test=(X[:30], Y[:30]), name="tiny")


@pytest.fixture(scope="session")
def results(tiny_data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    folder = tmp_path_factory.mktemp("studies") / "runs"
    return run_study(make_study(), tiny_data, folder, train=FakeCourse())
