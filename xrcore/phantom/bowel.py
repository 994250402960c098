"""Colon and small bowel, with gas. Model coordinates as for the hip bone."""

from __future__ import annotations

import numpy as np

from xrcore.phantom.hu_canvas import HuCanvas
from xrcore.phantom.patient import Patient
from xrcore.phantom.shapes import Field

# centre lines with radii [mm]: descending colon, sigmoid and rectum; ascending colon and caecum
UPPER_LEFT = [(96, 8, 225, 17), (100, 10, 170, 18), (98, 4, 120, 17), (88, -6, 78, 16), (66, -4, 52, 15)]
LOWER_LEFT = [(40, 14, 58, 15), (16, 32, 42, 14), (2, 42, 16, 14), (0, 33, -20, 11)]
DESCENDING = np.array(UPPER_LEFT + LOWER_LEFT, float)
ASCENDING = np.array([(-98, 6, 225, 24), (-100, 4, 165, 27), (-96, -8, 112, 27), (-84, -22, 74, 22)], float)


def paint_bowel(canvas: HuCanvas, patient: Patient, rng: np.random.Generator) -> None:
    """Colon with stool and gas, and a few gas-filled loops of small bowel. Supine, so gas gathers in front."""
    s = patient.size
    for path in (DESCENDING, ASCENDING):
        nodes = path * s
        nodes[:, :3] += rng.normal(0, 1, (len(nodes), 3)) * [5, 3, 5]
        nodes[:, 3] *= rng.uniform(0.8, 1.1, len(nodes))
        wall = _colon(nodes)
        canvas.paint(wall, 45.0)
        lumen = wall.like()
        lumen.distance = wall.distance + 2.5
        canvas.paint(lumen, 10.0, texture=90.0)
        # gas gathers in the front of the lumen, more in some stretches than in others
        gas = lumen.like()
        fill = rng.uniform(0.1, 1.0, len(nodes))[:, None]
        front = np.concatenate([nodes[:, :3] - (1 - fill) * nodes[:, 3:] * [0, 1, 0], nodes[:, 3:] * fill], 1)
        gas.curve(front, step=8)
        gas.distance = np.maximum(gas.distance, lumen.distance + 1)
        canvas.paint(gas, -960.0, texture=15.0)
    for _ in range(int(rng.integers(5, 10))):
        center = np.array([rng.uniform(-70, 70), rng.uniform(-75, -40), rng.uniform(60, 190)]) * s
        turn = rng.uniform(0, 2 * np.pi)
        length = rng.uniform(10, 32)
        step = np.array([np.cos(turn), 0.15, np.sin(turn)]) * length
        bend = np.array([-np.sin(turn), 0.1, np.cos(turn)]) * rng.uniform(-10, 10)
        nodes = np.array([center - step, center + bend, center + step])
        radius = rng.uniform(8, 15)
        loop = Field((nodes - 34).min(0), (nodes + 34).max(0))
        loop.curve(np.column_stack([nodes, radius * np.array([0.7, 1.0, 0.8])]), step=8)
        canvas.paint(loop, 35.0)
        gas = loop.like()
        _, y, _ = gas.coordinates()
        gas.distance = np.maximum(loop.distance + 2, y - np.float32(center[1] + rng.uniform(-2, 8)))
        canvas.paint(gas, -970.0)


def _colon(nodes: np.ndarray) -> Field:
    """A tube with haustra."""
    wall = Field(nodes[:, :3].min(0) - 45, nodes[:, :3].max(0) + 45)
    wall.curve(nodes, step=8)
    x, _, z = wall.coordinates()
    wall.distance += 2.4 * np.cos(2 * np.pi * (z + 0.4 * x) / 27).astype(np.float32)
    return wall
