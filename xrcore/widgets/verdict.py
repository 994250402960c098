"""What a registration found, as HTML: poses, errors, covariance, trust."""

from __future__ import annotations

from html import escape

import torch

from xrcore.geometry import Pose
from xrcore.geometry.pose import NAMES
from xrcore.registration.result import Registration
from xrcore.widgets.session import Session

_UNITS = ("°", "°", "°", "mm", "mm", "mm")
_CELL = "padding:1px 9px;text-align:right;font-variant-numeric:tabular-nums"
_GOOD, _BAD, _QUIET = "#1b7f3b", "#b3261e", "#666"


def pose_table(session: Session) -> str:
    """Rows: true, start, what a registration found with its standard deviations, now; with mTRE and mPD where the truth is known."""
    rows: list[tuple[str, Pose]] = [("start", session.start), ("now", session.pose)]
    if session.result is not None:
        rows.insert(1, ("found", session.result.pose))
    if session.truth is not None:
        rows.insert(0, ("true", session.truth))
    errors = session.truth is not None
    head = [f"{name} [{unit}]" for name, unit in zip(NAMES, _UNITS, strict=True)] + ["mTRE [mm]", "mPD [mm]"] * errors
    lines = [_row("", head, "th")]
    for label, pose in rows:
        cells = [f"{value:.2f}" for value in pose.numbers[0].tolist()]
        if errors:
            found = session.errors(pose) if label != "true" else None
            cells += [f"{value:.2f}" for value in found] if found else ["", ""]
        lines.append(_row(label, cells))
        deviation = session.result.standard_deviation if session.result and label == "found" else None
        if deviation is not None:
            lines.append(_row("std. dev., at least", [f"{value:.3f}" for value in deviation]))
    return f'<table class="xr-poses">{"".join(lines)}</table>'


def verdict(result: Registration | None) -> str:
    """Trusted or not, why, how long it took, and how the six numbers depend on each other."""
    if result is None:
        return ""
    colour, word = (_GOOD, "trusted") if result.trusted else (_BAD, "not trusted")
    parts = (f"{escape(result.similarity_name)} {result.similarity:.4f}", f"{result.seconds:.2f} s", f"{result.evaluations} images")
    facts = " · ".join((*parts, escape(result.stop_reason)))
    lines = [
        f'<div class="xr-verdict" role="status"><b style="color:{colour}">{word}</b> <span style="color:{_QUIET}">{facts}</span></div>'
    ]
    if (seen := result.evidence) is not None:
        share = f"{100 * seen.local / seen.attainable:.0f} % of the details that the noise leaves" if seen.attainable > 0 else ""
        parts = (f"ZNCC {seen.zncc:.3f}", share, f"the image's halves agree within {seen.disagreement:.1f} mm")
        lines.append(f'<div style="color:{_QUIET}">evidence: {" · ".join(part for part in parts if part)}</div>')
    lines += [f'<div style="color:{_QUIET}">{escape(text)}</div>' for text in (*result.reasons, *result.notes)]
    if result.covariance is not None:
        lines.append(f"<details><summary>correlations of the six numbers</summary>{_correlations(result)}</details>")
    return "".join(lines)


def _correlations(result: Registration) -> str:
    covariance = result.covariance
    assert covariance is not None
    deviation = covariance.diagonal().clamp_min(1e-30).sqrt()
    correlation = covariance / torch.outer(deviation, deviation)
    lines = [_row("", NAMES, "th")]
    for name, row in zip(NAMES, correlation.tolist(), strict=True):
        cells = [f'<td style="{_CELL};background:{_tint(value)}">{value:.2f}</td>' for value in row]
        lines.append(f'<tr><th style="{_CELL}">{name}</th>{"".join(cells)}</tr>')
    return f'<table class="xr-correlations">{"".join(lines)}</table>'


def _tint(value: float) -> str:
    """Blue for +1, orange for -1."""
    red, green, blue = (0, 114, 178) if value > 0 else (213, 94, 0)
    return f"rgba({red},{green},{blue},{0.45 * min(abs(value), 1):.2f})"


def _row(label: str, cells: list[str] | tuple[str, ...], kind: str = "td") -> str:
    inside = "".join(f'<{kind} style="{_CELL}">{cell}</{kind}>' for cell in cells)
    return f'<tr><th style="{_CELL}">{label}</th>{inside}</tr>'
