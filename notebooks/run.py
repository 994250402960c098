"""Run a notebook with parameters, or refresh the outputs it keeps.

    python notebooks/run.py notebooks/01_quickstart.ipynb out.ipynb seed=3 photons=5000
    python notebooks/run.py --refresh notebooks/*.ipynb

Notebooks are kept without outputs, except of the cells tagged `nbval-check-output`, which the tests compare. Pictures of the cells tagged
`picture` are kept in figures/, where a notebook shows them before it was run: 01_quickstart.png, 01_quickstart-2.png and so on.
"""

from __future__ import annotations

import base64
import io
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import papermill
import yaml
from PIL import Image

from companion.workflow.figure_sources import record_sources
from xrcore.utilities import atomic_file

CHECKED, PICTURE = "nbval-check-output", "picture"
FIGURES = Path(__file__).parents[1] / "figures"


def run(notebook: str | Path, out: str | Path, parameters: Mapping[str, Any]) -> None:
    """Execute `notebook` with `parameters` into `out`. Raises ValueError for a parameter it does not have, which papermill lets pass."""
    known = papermill.inspect_notebook(str(notebook))
    if unknown := sorted(parameters.keys() - known.keys()):
        raise ValueError(f"{notebook} has no parameter {', '.join(unknown)}; it has {', '.join(known)}")
    papermill.execute_notebook(str(notebook), str(out), parameters=dict(parameters), progress_bar=False, cwd=str(Path(notebook).parent))


def stripped(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook as it is kept: no traces of who ran it when, no outputs but the checked ones."""
    for cell in notebook.cells:
        cell.metadata = {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
        if cell.cell_type == "code" and CHECKED not in cell.metadata.get("tags", ()):
            cell.outputs, cell.execution_count = [], None
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def refresh(notebook: Path) -> None:
    """Run with its own parameters and keep what is checked, and pictures with the hash of the code that drew them."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / notebook.name
        run(notebook, out, {})
        executed = nbformat.read(out, as_version=4)
    pictures = [cell for cell in executed.cells if PICTURE in cell.metadata.get("tags", ())]
    for number, cell in enumerate(pictures, 1):
        (png,) = (output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {}))
        figure = FIGURES / f"{notebook.stem}{f'-{number}' if number > 1 else ''}.png"
        with atomic_file(figure) as temporary:
            Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB").save(temporary, format="PNG", optimize=True)
        record_sources(figure, [notebook.resolve()], FIGURES.parent)
    with atomic_file(notebook) as temporary:
        nbformat.write(stripped(executed), temporary)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--refresh"]:
        for path in sys.argv[2:]:
            refresh(Path(path))
    elif len(sys.argv) > 2:
        if bad := [argument for argument in sys.argv[3:] if "=" not in argument]:
            sys.exit(f"{bad[0]}: expected NAME=VALUE")
        given = dict(argument.split("=", 1) for argument in sys.argv[3:])
        run(sys.argv[1], sys.argv[2], {name: yaml.safe_load(value) for name, value in given.items()})
    else:
        sys.exit(__doc__)
