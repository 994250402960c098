"""HTML of a registration's poses and verdict, of a network's poses, and of capture ranges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from numpy import ndarray

from xrcore.figures.colours import BAD, GOOD, MUTED
from xrcore.figures.profiles import colour, unit
from xrcore.geometry import Pose
from xrcore.geometry.pose import NAMES
from xrcore.registration.convergence_basin import ConvergenceBasin
from xrcore.registration.result import Registration
from xrcore.registration.similarity_profiles import Profiles

if TYPE_CHECKING:
    from xrcore.widgets.session import Session

_CELL = "padding:1px 9px;text-align:right;font-variant-numeric:tabular-nums"
_SMALL_CELL = "padding:2px 4px;font-variant-numeric:tabular-nums"
_SMALL_TABLE = "border-collapse:collapse;text-align:right;line-height:1.25;font-size:12px"
_FALL = "Lengths below | above: how far the similarity falls from its highest point, which is <b>at</b> so far from the centre"
_RETURN = "; ↩: from how far descents on two coarse levels come back to within {near:g} mm"
_END = ". ≥: to the end of the line."


def pose_table(session: Session) -> str:
    """Write a session's poses: true, start, found with its standard deviations, now.

    Parameters
    ----------
    session : Session
        Whose poses.

    Returns
    -------
    str
        HTML, a row a pose, with mTRE and mPD where the truth is known.
    """
    result = session.result
    poses = {"true": session.truth, "start": session.start, "found": result.pose if result else None, "now": session.pose}
    errors = session.truth is not None
    lines = [_row("", [f"{name} [{unit(name).strip()}]" for name in NAMES] + ["mTRE [mm]", "mPD [mm]"] * errors, "th")]
    for label, pose in poses.items():
        if pose is None:
            continue
        cells = [f"{value:.2f}" for value in pose.numbers[0].tolist()]
        if errors:
            found = session.errors(pose) if label != "true" else None
            cells += [f"{value:.2f}" for value in found] if found else ["", ""]
        lines.append(_row(label, cells))
        if label == "found" and result and result.standard_deviation is not None:
            lines.append(_row("std. dev.", [f"{value:.3f}".replace("inf", "∞") for value in result.standard_deviation]))
    return f'<table class="xr-poses">{"".join(lines)}</table>'


def verdict_html(result: Registration | None) -> str:
    """Write whether a result is trusted, how confidently, why, its time, and the correlations of the six numbers.

    Parameters
    ----------
    result : Registration or None
        The result; None gives "".

    Returns
    -------
    str
        HTML.
    """
    if result is None:
        return ""
    colour, word = (GOOD, "trusted") if result.trusted else (BAD, "not trusted")
    parts = (f"{escape(result.similarity_name)} {result.similarity:.4f}", f"{result.seconds:.2f} s", f"{result.evaluations} images")
    facts = " · ".join((*parts, escape(result.stop_reason)))
    lines = [f'<div class="xr-verdict" role="status"><b style="color:{colour}">{word}</b> <span style="color:{MUTED}">{facts}</span></div>']
    if (seen := result.evidence) is not None:
        place = f"{100 * seen.agreement:.0f} % of the X-ray's detail found where the CT would have it"
        drawn = f"landmarks drawn to ±{seen.deviation:.1f} mm".replace("±inf mm", "an unknown distance")
        lines.append(f'<div style="color:{MUTED}">confidence {result.confidence:.2f} · {place} · {drawn}</div>')
    lines += [f'<div style="color:{MUTED}">{escape(text)}</div>' for text in (*result.reasons, *result.notes)]
    if result.covariance is not None:
        lines.append(f"<details><summary>correlations of the six numbers</summary>{_correlations(result.covariance)}</details>")
    return "".join(lines)


def difference_table(poses: Mapping[str, Pose]) -> str:
    """Write poses in columns, with their differences from the true one.

    Parameters
    ----------
    poses : mapping of str to Pose
        One pose each; the one called "truth", if there is one, is subtracted from the others.

    Returns
    -------
    str
        HTML, a row a number, differences in brackets.
    """
    numbers = {name: pose.numbers.detach()[0].tolist() for name, pose in poses.items()}
    true = numbers.get("truth")
    rows = [_row("", list(numbers), "th")]
    for i, number in enumerate(NAMES):
        cells = []
        for name, values in numbers.items():
            difference = f' <span style="color:{MUTED}">({_tenths(values[i] - true[i], "+")})</span>' if true and name != "truth" else ""
            cells.append(_tenths(values[i]) + difference)
        rows.append(_row(f"{number} [{unit(number).strip()}]", cells))
    return f'<table class="xr-poses" style="line-height:1.4">{"".join(rows)}</table>'


def capture_table(profiles: Profiles, returns: Mapping[str, ConvergenceBasin], selected: str) -> str:
    """Write the capture ranges of similarities.

    Parameters
    ----------
    profiles : Profiles
        The similarities along six lines.
    returns : mapping of str to ConvergenceBasin
        By similarity, from where descents came back, as far as it was tried.
    selected : str
        The similarity that is shown bold.

    Returns
    -------
    str
        HTML, a row a similarity, a column a number.
    """
    heads = "".join(f'<th style="{_SMALL_CELL}">{name} [{unit(name).strip()}]</th>' for name in NAMES)
    rows = "".join(_capture_row(name, profiles, returns.get(name), bold=name == selected) for name in profiles.values)
    near = next((found.near for found in returns.values()), None)
    text = _FALL + ("" if near is None else _RETURN.format(near=near)) + _END
    legend = f'<div style="color:{MUTED};max-width:540px;line-height:1.3;font-size:12px">{text}</div>'
    return f'<table style="{_SMALL_TABLE}"><tr><th></th>{heads}</tr>{rows}</table>{legend}'


def _correlations(covariance: Float[torch.Tensor, "6 6"]) -> str:
    deviation = covariance.diagonal().clamp_min(1e-30).sqrt()
    correlation = (covariance / torch.outer(deviation, deviation)).nan_to_num()  # 0 where a direction is not seen at all
    lines = [_row("", NAMES, "th")]
    for name, row in zip(NAMES, correlation.tolist(), strict=True):
        cells = [f'<td style="{_CELL};background:{_tint(value)}">{value:.2f}</td>' for value in row]
        lines.append(f'<tr><th style="{_CELL}">{name}</th>{"".join(cells)}</tr>')
    return f'<table class="xr-correlations">{"".join(lines)}</table>'


def _tint(value: float) -> str:
    """Blue for +1, orange for -1."""
    red, green, blue = (0, 114, 178) if value > 0 else (213, 94, 0)
    return f"rgba({red},{green},{blue},{0.45 * min(abs(value), 1):.2f})"


def _capture_row(name: str, profiles: Profiles, found: ConvergenceBasin | None, *, bold: bool) -> str:
    fall, cut, optimum = profiles.capture(name), profiles.cut_off(name), profiles.optimum(name)
    back = None if found is None else found.extent()
    cells = []
    for axis in range(6):
        lines = [_lengths(fall[axis], cut[axis])]
        if found is not None and back is not None:
            lines.append(f"↩ {_lengths(back[axis], back[axis] >= found.offsets[axis, -1])}")
        lines.append(f'<span style="color:{MUTED}">at {_tenths(optimum[axis], "+")}</span>')
        cells.append(f'<td style="{_SMALL_CELL}">{"<br>".join(lines)}</td>')
    head = f'<th style="text-align:left;font-weight:{"bold" if bold else "normal"}"><span style="color:{colour(name)}">■</span> {name}</th>'
    return f'<tr style="border-top:1px solid #ddd">{head}{"".join(cells)}</tr>'


def _lengths(lengths: Float[ndarray, "2"], at_the_end: Bool[ndarray, "2"]) -> str:
    return " | ".join(f"{'≥' if end else ''}{length:.0f}" for length, end in zip(lengths, at_the_end, strict=True))


def _tenths(value: float, sign: str = "") -> str:
    rounded = round(float(value), 1) + 0.0  # no negative zero
    return format(rounded, f"{sign}.1f").replace("-", "−")


def _row(label: str, cells: Sequence[str], kind: str = "td") -> str:
    inside = "".join(f'<{kind} style="{_CELL}">{cell}</{kind}>' for cell in cells)
    return f'<tr><th style="{_CELL}">{label}</th>{inside}</tr>'
