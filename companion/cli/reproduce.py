"""The command `xrcore reproduce`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xrcore.utilities import one_of

Extra = Annotated[list[str] | None, typer.Argument(metavar="[-- SNAKEMAKE OPTIONS]", help="Handed on as they are.", show_default=False)]


def reproduce(
    extra: Extra = None,
    profile: Annotated[
        str,
        typer.Option(
            help="smoke (minutes, no data), laptop (a night or two) or paper (a GPU).", autocompletion=one_of("smoke", "laptop", "paper")
        ),
    ] = "laptop",
    cores: Annotated[int | None, typer.Option(min=1, help="Jobs at once.", show_default="all cores")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only say what would run, and why.")] = False,
    root: Annotated[Path, typer.Option(metavar="DIR", help="The clone of xrcore.")] = Path(),
) -> None:
    """Make every table and figure of the paper again.

    Fetches data, trains, evaluates and runs the notebooks. Only what is missing or has other settings than before is made. Interrupted at
    any moment, the same command goes on: trainings from their last checkpoint, evaluations from their last case. Needs a clone of xrcore
    and its extra `workflow`.

    \b
    Examples:
      xrcore reproduce --profile smoke
      xrcore reproduce --profile laptop --dry-run
      xrcore reproduce --profile laptop -- build/laptop/gathered/ablation.json
      xrcore reproduce --profile paper -- --profile workflow/slurm
    """
    from companion.workflow.snakemake_run import run

    raise typer.Exit(run(profile, root=root, cores=cores, dry_run=dry_run, extra=extra or []))
