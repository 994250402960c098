"""Diff-DeepDRR: physics-based radiographs, differentiable in the pose."""

from xrcore.renderer.placing import place
from xrcore.renderer.rendering import BACKENDS, choose_backend, render, render_with_jacobian

__all__ = ["BACKENDS", "choose_backend", "place", "render", "render_with_jacobian"]
