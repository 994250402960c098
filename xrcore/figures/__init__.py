"""Pictures of X-rays, registrations and trainings. Drawn without pyplot, so they also work in servers, threads and widget callbacks."""

from xrcore.figures import style
from xrcore.figures.attention import attention_overlay, spread_over
from xrcore.figures.blends import checkerboard, composite, difference, display_image, edges, error_map, overlay
from xrcore.figures.convergence import convergence_figure
from xrcore.figures.encoding import array_png, figure_png, picture_html
from xrcore.figures.files import save_figure
from xrcore.figures.panels import edge_legend, panels_figure, show_picture
from xrcore.figures.profiles import plane_figure, profiles_figure
from xrcore.figures.registration import registration_figure
from xrcore.figures.scene import scene_figure
from xrcore.figures.training import training_figure

__all__ = [
    "array_png",
    "attention_overlay",
    "checkerboard",
    "composite",
    "convergence_figure",
    "difference",
    "display_image",
    "edge_legend",
    "edges",
    "error_map",
    "figure_png",
    "overlay",
    "panels_figure",
    "picture_html",
    "plane_figure",
    "profiles_figure",
    "registration_figure",
    "save_figure",
    "scene_figure",
    "show_picture",
    "spread_over",
    "style",
    "training_figure",
]
