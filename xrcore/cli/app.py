"""The command line application. Commands import heavy packages when called, so that `--help` is immediate."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated

import typer

import xrcore
from xrcore._util.logs import logger
from xrcore.cli.demo import demo
from xrcore.cli.draw import draw
from xrcore.cli.register import register
from xrcore.cli.render import render
from xrcore.cli.simulate import simulate
from xrcore.cli.track import track
from xrcore.cli.train import train

app = typer.Typer(
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for command in (demo, register, draw, render, simulate, track, train):
    app.command()(command)


def add_commands(to: typer.Typer, installed: Iterable[EntryPoint]) -> None:
    """Add the commands of other packages; one that cannot be imported is logged, and the others work."""
    for entry_point in sorted(installed, key=lambda entry: entry.name):
        try:
            added = entry_point.load()
            if not callable(added):
                raise TypeError(f"{entry_point.value} is no command")
        except Exception as error:  # whatever another package does wrong
            logger.warning(f"xrcore {entry_point.name} is not there: {' '.join(str(error).split()) or type(error).__name__}")
            continue
        if isinstance(added, typer.Typer):
            to.add_typer(added, name=entry_point.name)
        else:
            to.command(entry_point.name)(added)


add_commands(app, entry_points(group="xrcore.commands"))


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"xrcore {xrcore.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _xrcore(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)] = False,
) -> None:
    """Find where an X-ray was taken from, given the patient's CT.

    \b
    Examples:
      xrcore demo
      xrcore register ct.nii.gz xray.dcm --out result
      xrcore draw xray.dcm result --labels bones.nii.gz --out drawn.png
      xrcore COMMAND --help
    """
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit
