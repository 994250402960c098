"""Colours of the figures, which the colour-blind distinguish."""

# of Okabe and Ito's palette (Color Universal Design, 2008)
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
DARK, MUTED, PALE, GRID = "#1a1a1a", "#6b6b6b", "#9aa5b1", "#e6e6e6"  # text, remarks, what is compared with, grid lines
GOOD, BAD = "#1b7f3b", "#b3261e"  # of a verdict
