"""Find the pose of X-rays in a CT's space."""

from __future__ import annotations

from xrcore.registration.body_window import visible_region
from xrcore.registration.convergence_basin import ConvergenceBasin, measure_convergence_basin
from xrcore.registration.events import Stage, Step, StopReason
from xrcore.registration.joint_problem import JointProblem
from xrcore.registration.pipeline import register, register_steps
from xrcore.registration.predictor import Predictor
from xrcore.registration.presets import PRESETS, Method, refinements
from xrcore.registration.problem import Problem, shrink
from xrcore.registration.refinement import refine, refine_steps
from xrcore.registration.registration_files import read_pose, write_registration
from xrcore.registration.result import Evidence, Registration
from xrcore.registration.search import SearchBox
from xrcore.registration.settings import PYRAMID, Level, RefinementSettings, Resolution
from xrcore.registration.similarities import SIMILARITIES
from xrcore.registration.similarity_profiles import Plane, Profiles, plane, profiles
from xrcore.registration.solvers.adam import Adam
from xrcore.registration.solvers.cma_es import CMAES
from xrcore.registration.solvers.gauss_newton import GaussNewton
from xrcore.registration.solvers.lbfgs import LBFGS
from xrcore.registration.solvers.powell import Powell
from xrcore.registration.verify import confidence, failed_checks, gather_evidence
from xrcore.registration.view import View
from xrcore.registration.view_reading import read_views

__all__ = [
    "CMAES",
    "LBFGS",
    "PRESETS",
    "PYRAMID",
    "SIMILARITIES",
    "Adam",
    "ConvergenceBasin",
    "Evidence",
    "GaussNewton",
    "JointProblem",
    "Level",
    "Method",
    "Plane",
    "Powell",
    "Predictor",
    "Problem",
    "Profiles",
    "RefinementSettings",
    "Registration",
    "Resolution",
    "SearchBox",
    "Stage",
    "Step",
    "StopReason",
    "View",
    "confidence",
    "failed_checks",
    "gather_evidence",
    "measure_convergence_basin",
    "plane",
    "profiles",
    "read_pose",
    "read_views",
    "refine",
    "refine_steps",
    "refinements",
    "register",
    "register_steps",
    "shrink",
    "visible_region",
    "write_registration",
]
