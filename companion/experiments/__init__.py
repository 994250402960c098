"""Experiments: method x patient x test set -> one tidy table, and its summary."""

from companion.experiments.case_table import COLUMNS, read_table
from companion.experiments.cohort import cohort
from companion.experiments.methods import Method, Perturbation, prediction, refinement, registration, search
from companion.experiments.patients import PATIENTS, Loaded, Patient, Phantom, Subject, choose_patients, data_root, patients_on_disk
from companion.experiments.runner import run
from companion.experiments.statistics import summary
from companion.experiments.testset import TestSet

__all__ = [
    "COLUMNS",
    "PATIENTS",
    "Loaded",
    "Method",
    "Patient",
    "Perturbation",
    "Phantom",
    "Subject",
    "TestSet",
    "choose_patients",
    "cohort",
    "data_root",
    "patients_on_disk",
    "prediction",
    "read_table",
    "refinement",
    "registration",
    "run",
    "search",
    "summary",
]
