"""An image as a NRRD file; in Python, as ITK cannot open every path."""

from __future__ import annotations

import gzip
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Shaped
from numpy import ndarray

_TYPES = {"float32": "float", "uint8": "uint8", "int16": "int16"}


def nrrd_bytes(values: Shaped[ndarray, "D H W"], world_from_voxel: Float[ndarray, "4 4"], more: Mapping[str, str] | None = None) -> bytes:
    """The file: LPS [mm], compressed, the same for the same image. more: keys of somebody's own, such as 3D Slicer's."""

    def vector(numbers: ndarray) -> str:
        return f"({','.join(repr(float(v)) for v in numbers)})"

    header = [
        "NRRD0005",
        f"type: {_TYPES[values.dtype.name]}",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, reversed(values.shape)))}",
        f"space directions: {' '.join(map(vector, world_from_voxel[:3, :3].T))}",
        "kinds: domain domain domain",
        "endian: little",
        "encoding: gzip",
        f"space origin: {vector(world_from_voxel[:3, 3])}",
        *(f"{key}:={value}" for key, value in (more or {}).items()),
    ]
    data = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
    return "\n".join([*header, "", ""]).encode() + gzip.compress(data, mtime=0)


def segment_keys(values: Mapping[str, int]) -> dict[str, str]:
    """What 3D Slicer's segmentation files (.seg.nrrd) say of segments. values: the label of each by name."""
    keys: dict[str, str] = {}
    for number, (name, value) in enumerate(values.items()):
        said = {"ID": f"Segment_{value}", "Name": name, "LabelValue": str(value), "Layer": "0"}
        keys |= {f"Segment{number}_{key}": text for key, text in said.items()}
    return keys
