"""`xrcore bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def bench(
    peers: Annotated[bool, typer.Option("--peers", help="Also time RTK and nanodrr, where installed (the peers extra).")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Smaller sizes and fewer repeats.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Also write the figures there.", show_default=False)] = None,
) -> None:
    """Measure the renderer and the registration on this machine.

    \b
    Examples:
      xrcore bench
      xrcore bench --quick --peers --out bench
    """
    from harness import run

    run(peers=peers, quick=quick, out=out)
