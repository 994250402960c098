"""Reproduce the paper: data sets, experiments, and one study per table or figure."""
