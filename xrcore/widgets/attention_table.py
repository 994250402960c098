"""The table of what a network and a refinement say of a pose."""

from __future__ import annotations

from collections.abc import Mapping

from xrcore.geometry import Pose
from xrcore.geometry.pose import NAMES

_CELL = "padding:1px 10px;font-variant-numeric:tabular-nums"
_QUIET = "#6b6b6b"


def poses_table(columns: Mapping[str, Pose]) -> str:
    """HTML: a row a number, a column a pose, in brackets its difference from the pose called "truth", if there is one."""
    numbers = {name: pose.numbers.detach()[0].tolist() for name, pose in columns.items()}
    true = numbers.get("truth")
    rows = ["<tr><th></th>" + "".join(f'<th style="{_CELL}">{name}</th>' for name in numbers) + "</tr>"]
    for i, number in enumerate(NAMES):
        cells = []
        for name, values in numbers.items():
            off = "" if true is None or name == "truth" else f' <span style="color:{_QUIET}">({_figure(values[i] - true[i], "+")})</span>'
            cells.append(f'<td style="{_CELL}">{_figure(values[i])}{off}</td>')
        rows.append(f'<tr><th style="{_CELL}">{number} [{"°" if number[0] == "r" else "mm"}]</th>{"".join(cells)}</tr>')
    return f'<table class="xr-poses" style="text-align:right;line-height:1.4">{"".join(rows)}</table>'


def _figure(value: float, sign: str = "") -> str:
    rounded = round(value, 1) + 0.0  # no negative zero
    return format(rounded, f"{sign}.1f").replace("-", "−")
