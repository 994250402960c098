"""Draw the CT's structures onto a registered X-ray: labels, landmarks, lines and surfaces; and a registration as it went."""

from xrcore.drawing.animation import animate
from xrcore.drawing.drawn_xray import DrawnXray, draw
from xrcore.drawing.label_projection import ProjectedLabels, project_labels
from xrcore.drawing.markups import Line
from xrcore.drawing.slicer import write_slicer

__all__ = ["DrawnXray", "Line", "ProjectedLabels", "animate", "draw", "project_labels", "write_slicer"]
