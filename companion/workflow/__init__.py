"""The paper, again: which trainings and evaluations make its tables and figures, and at what size.

`plan` says what is to be made, `trainings` and `studies` make it, `results` finds it again, `paper` holds what the paper reports. The
workflow (`workflow/Snakefile`) calls `python -m companion.workflow`; the notebooks only read.
"""
