"""Run the reproduction: Snakemake, its steps, and the notebooks.

`companion.studies` says what is to be made, and makes it. The workflow (`workflow/Snakefile`) calls `python -m companion.workflow`, a
step a call; the notebooks only read.
"""
