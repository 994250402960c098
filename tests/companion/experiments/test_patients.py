"""The patients of the experiments and the files of their CTs."""

from __future__ import annotations

import pytest

import xrcore as xr
from companion.experiments import (
    PATIENTS,
    Patient,
    choose_patients,
    data_root,
)


def test_patients_by_number(tmp_path):
    assert [p.number for p in choose_patients(root=tmp_path)] == ["1", "2", "3", "4", "5", "6#"]
    implant, abdomen = choose_patients("6#, 1", tmp_path)
    assert implant.name == "pelvis-implant"
    assert abdomen.file == tmp_path / "ct/cort_abdomen_dicom"
    with pytest.raises(xr.XrcoreError, match=r"no patient '7'; choose from 1, 2, 3, 4, 5, 6#"):
        choose_patients("7", tmp_path)


def test_the_data_are_where_the_argument_or_the_variable_says(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    monkeypatch.setenv("XRCORE_DATA_MIRROR", str(tmp_path / "a"))
    assert data_root() == tmp_path / "a"
    assert data_root(tmp_path) == tmp_path
    assert PATIENTS[0].file == tmp_path / "a" / PATIENTS[0].path
    monkeypatch.setenv("XRCORE_DATA_MIRROR", str(tmp_path / "b"))
    with pytest.raises(xr.XrcoreError, match=r"b: the CTs were not found; set XRCORE_DATA_MIRROR"):
        choose_patients()


def test_a_patient_reads_its_ct_with_its_options(tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr("companion.experiments.patients.read_ct", lambda path, **options: asked.update(path=path, **options))
    Patient("9", "some", "ct/some.nii.gz", {"background": 0}, tmp_path).volume(3.0)
    assert asked == {"path": tmp_path / "ct/some.nii.gz", "spacing": 3.0, "background": 0}


def test_the_six_cts_are_there(shared_data):
    assert all(patient.file.exists() for patient in choose_patients(root=shared_data))
