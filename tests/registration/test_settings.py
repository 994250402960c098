"""Settings and presets: each solver has what it uses, and refuses nonsense by name."""

from __future__ import annotations

from dataclasses import fields

import pytest

import xrcore as xr
from xrcore.registration.presets import PRESETS, refinements

SOLVERS = (xr.GaussNewton, xr.Adam, xr.LBFGS, xr.CMAES, xr.Powell)


def test_a_setting_that_a_solver_does_not_use_cannot_be_given():
    assert {field.name for field in fields(xr.GaussNewton)} == {"levels", "tolerance"}
    for kind, foreign in ((xr.GaussNewton, "iterations"), (xr.Adam, "tolerance"), (xr.LBFGS, "seed"), (xr.Powell, "step_halving")):
        with pytest.raises(TypeError, match=foreign):
            kind(**{foreign: 1})


@pytest.mark.parametrize("kind", SOLVERS)
def test_settings_are_frozen_and_compare_by_value(kind):
    assert kind() == kind()
    assert hash(kind()) == hash(kind())
    with pytest.raises(AttributeError):
        kind().method = "other"


@pytest.mark.parametrize("kind", SOLVERS)
def test_another_similarity_on_all_levels(kind):
    assert {level.similarity for level in kind().with_similarity("local-zncc").levels} == {"local-zncc"}
    with pytest.raises(xr.XrcoreError, match="'cosine' is unknown"):
        kind().with_similarity("cosine")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: xr.GaussNewton(levels=()), "GaussNewton: levels must be a tuple of at least one Level"),
        (lambda: xr.GaussNewton(tolerance=0), "GaussNewton: tolerance must be positive"),
        (lambda: xr.Level(pixels=4, spacing=2.0, iterations=1), "Level: pixels must be a whole number, at least 8"),
        (lambda: xr.Level(pixels=64, spacing=None, iterations=1), "Level: spacing must be positive"),
        (lambda: xr.Level(pixels=64, spacing=2.0, iterations=-1), "Level: iterations must be a whole number, not negative"),
        (lambda: xr.Adam(rotation_step=0), "Adam: rotation_step must be positive"),
        (lambda: xr.Adam(step_halving=0), "Adam: step_halving must be a whole number, at least 1"),
        (lambda: xr.LBFGS(iterations=2.5), "LBFGS: iterations must be a whole number"),
        (lambda: xr.CMAES(seed=-1), "CMAES: seed must be a whole number"),
        (lambda: xr.Powell(tolerance=float("nan")), "Powell: tolerance must be positive"),
    ],
)
def test_nonsense_is_named(make, words):
    with pytest.raises(xr.XrcoreError, match=words):
        make()


def test_presets_resolve_to_what_follows_each_other():
    assert refinements("gauss-newton") == (xr.GaussNewton(),)
    assert [settings.method for settings in refinements("grimm")] == ["cma-es", "powell"]
    assert refinements(xr.Adam()) == (xr.Adam(),)
    assert refinements((xr.CMAES(), xr.Adam())) == (xr.CMAES(), xr.Adam())
    assert set(PRESETS) >= {settings.method for several in PRESETS.values() for settings in several}
