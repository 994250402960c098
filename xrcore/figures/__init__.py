"""Pictures of a registration and of a training. Drawn without pyplot, so they also work in servers, threads and widget callbacks."""

from xrcore.figures.blends import checkerboard, composite, difference, display_image, edges, overlay
from xrcore.figures.convergence import convergence_figure
from xrcore.figures.encoding import picture_html
from xrcore.figures.files import save_figure
from xrcore.figures.registration import registration_figure
from xrcore.figures.training import training_figure

__all__ = [
    "checkerboard",
    "composite",
    "convergence_figure",
    "difference",
    "display_image",
    "edges",
    "overlay",
    "picture_html",
    "registration_figure",
    "save_figure",
    "training_figure",
]
