"""The paper, again: data sets, experiments, and a study for each of its tables and figures."""
