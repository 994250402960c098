"""The command `xrcore bench`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from xrcore import XrcoreError
from xrcore.utilities import check_writable

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "speed.py"


def bench(
    peers: Annotated[bool, typer.Option("--peers", help="Also time RTK and nanodrr, where installed (the peers extra).")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Smaller sizes and fewer repeats.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Also write speed.csv and speed.json there.", show_default=False)] = None,
) -> None:
    """Measure the renderer and the registration on this machine.

    \b
    Examples:
      xrcore bench
      xrcore bench --quick --peers --out bench
    """
    if not SCRIPT.is_file():
        raise XrcoreError("xrcore bench: benchmarks/ is not installed with the package; run the command from a clone of the repository")
    if out is not None:
        check_writable(out, "speed.csv", "speed.json")
    asked = [flag for flag, wanted in (("--peers", peers), ("--quick", quick)) if wanted]
    asked += ["--no-files"] if out is None else ["--out", str(out / "speed")]
    raise typer.Exit(subprocess.run([sys.executable, SCRIPT, *asked]).returncode)
