"""What 3D Slicer opens by drag and drop: the X-ray at its place in the CT's space, its camera, landmarks, and the transform."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import torch
from numpy import ndarray

from xrcore._util.atomic import atomic_folder
from xrcore.ct.nrrd_writing import nrrd_bytes
from xrcore.drawing.markups import read_landmarks
from xrcore.geometry import CArm, rigid
from xrcore.registration.placement import Placement
from xrcore.registration.registration_files import itk_text
from xrcore.xray.image import Xray

FILES = ("xray.nrrd", "camera.ply", "camera.mrk.json", "camera_from_ct.tfm")
LANDMARKS = "landmarks.mrk.json"
_SCHEMA = "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.3.json#"


def write_slicer(folder: str | os.PathLike[str], xray: Xray, placement: Placement, points: object = None) -> tuple[str, ...]:
    """Write the files, all of them or none; coordinates are LPS [mm].

    xray.nrrd is the X-ray as one oriented slice on the detector; camera.ply the rays to the detector's corners; camera.mrk.json the
    source, the isocentre and the principal ray; camera_from_ct.tfm the ITK transform; landmarks.mrk.json the landmarks, if there are.

    Parameters
    ----------
    folder : path
        Made if it does not exist.
    xray : Xray
        What was registered.
    placement : Placement
        Where its camera stands.
    points : path or mapping or array, optional
        Landmarks, as for `draw`.

    Returns
    -------
    tuple of str
        The files' names.

    Raises
    ------
    XrcoreError
        If the folder cannot be written.
    """
    carm, world_from_camera = placement.image_carm(xray.carm), rigid.invert(placement.camera_from_world)
    names = FILES if points is None else (*FILES, LANDMARKS)
    (row, col), (row_step, col_step) = carm.center, carm.spacing
    # of the first pixel's centre, and of the principal point, on the detector
    first = [-col * col_step, -row * row_step, carm.source_to_detector]
    places = torch.tensor([first, [0.0, 0.0, 0.0], [0.0, 0.0, carm.source_to_detector]], dtype=torch.float64)
    origin, source, principal = rigid.apply(world_from_camera, places).numpy()
    with atomic_folder(folder, own=re.escape(LANDMARKS)) as temporary:
        matrix = np.eye(4)  # along columns, rows, and away from the source
        matrix[:3, :3], matrix[:3, 3] = world_from_camera[:3, :3].numpy() * [col_step, row_step, 1.0], origin
        image = torch.where(xray.mask, xray.image, xray.image[xray.mask].min())[None]
        (temporary / FILES[0]).write_bytes(nrrd_bytes(image.cpu().numpy(), matrix))
        (temporary / FILES[1]).write_text(_frustum(carm, world_from_camera), encoding="ascii")
        ends = _markup("Fiducial", "camera", {"source": source, "isocentre": placement.isocenter.numpy()})
        ray = _markup("Line", "principal ray", {"source": source, "principal point": principal})
        _write_markups(temporary / FILES[2], [ends, ray])
        (temporary / FILES[3]).write_text(itk_text(placement.camera_from_world), encoding="ascii")
        if points is not None:
            _write_markups(temporary / names[-1], [_markup("Fiducial", "landmarks", read_landmarks(points))])
    return names


def _frustum(carm: CArm, world_from_camera: torch.Tensor) -> str:
    """The sides of the beam, as a PLY: a pyramid, or of a slot scan a prism without ends."""
    corners = torch.cat([carm.corner_sources(), carm.corners()])
    vertices = rigid.apply(world_from_camera, corners).tolist()
    faces = [face for a in range(4) for b in [(a + 1) % 4] for face in ((a, a + 4, b + 4), (a, b + 4, b))]
    # of a point source two of each face's corners are one, and the face has no area
    faces = [f for f in faces if len({tuple(vertices[i]) for i in f}) == 3]
    header = ["ply", "format ascii 1.0", "comment SPACE=LPS", f"element vertex {len(vertices)}", *(f"property double {a}" for a in "xyz")]
    header += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header"]
    lines = [*header, *(" ".join(map(repr, v)) for v in vertices), *(f"3 {a} {b} {c}" for a, b, c in faces)]
    return "\n".join(lines) + "\n"


def _markup(kind: str, name: str, places: dict[str, ndarray]) -> dict[str, object]:
    points = [
        {"id": str(number), "label": label, "position": np.asarray(place, float).tolist(), "positionStatus": "defined"}
        for number, (label, place) in enumerate(places.items(), 1)
    ]
    return {"type": kind, "name": name, "coordinateSystem": "LPS", "coordinateUnits": "mm", "controlPoints": points}


def _write_markups(path: Path, markups: list[dict[str, object]]) -> None:
    path.write_text(json.dumps({"@schema": _SCHEMA, "markups": markups}, indent=2) + "\n", encoding="utf-8")
