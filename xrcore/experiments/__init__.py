"""Experiments: method x patient x test set -> one tidy table, and what it says."""

from xrcore.experiments.methods import Method, Perturbation, prediction, refinement, registration, search
from xrcore.experiments.patients import PATIENTS, Patient, Phantom, Subject, chosen, data_root
from xrcore.experiments.run import run
from xrcore.experiments.statistics import summary
from xrcore.experiments.table import COLUMNS, read_table
from xrcore.experiments.testset import TestSet

__all__ = [
    "COLUMNS",
    "PATIENTS",
    "Method",
    "Patient",
    "Perturbation",
    "Phantom",
    "Subject",
    "TestSet",
    "chosen",
    "data_root",
    "prediction",
    "read_table",
    "refinement",
    "registration",
    "run",
    "search",
    "summary",
]
