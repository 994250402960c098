"""Suffixes of the pictures that are written; apart from what draws them, which is slow to import."""

FIGURE_SUFFIXES = (".png", ".svg", ".pdf")
DRAWN_SUFFIXES = (*FIGURE_SUFFIXES, ".dcm")
