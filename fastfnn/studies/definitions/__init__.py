"""The five published studies: what they did, what they printed, and where each row is done properly."""

from __future__ import annotations

from fastfnn.studies.definitions.study_a import STUDY_A
from fastfnn.studies.definitions.study_b import STUDY_B
from fastfnn.studies.definitions.study_c import STUDY_C
from fastfnn.studies.definitions.study_d import STUDY_D
from fastfnn.studies.definitions.study_e import STUDY_E
from fastfnn.studies.study import Study

__all__ = ["STUDIES"]

STUDIES: dict[str, Study] = {study.name: study for study in (STUDY_A, STUDY_B, STUDY_C, STUDY_D, STUDY_E)}
