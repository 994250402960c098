"""A picture as a DICOM secondary capture, with nothing in it about a person."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from pydicom.uid import SecondaryCaptureImageStorage

from xrcore._util.atomic import atomic_file
from xrcore.xray.dicom_object import blank_object


def save_secondary_capture(figure: Figure, path: Path) -> Path:
    """Write a figure as it is drawn, 8 bits a colour; its identifiers follow from its pixels.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        What to write.
    path : path
        Ending in .dcm.

    Returns
    -------
    pathlib.Path
        The path.

    Raises
    ------
    XrcoreError
        If it cannot be written.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])
    data = blank_object(SecondaryCaptureImageStorage, [pixels.tobytes().hex()])
    data.Modality, data.ConversionType, data.ImageType = "OT", "WSD", ["DERIVED", "SECONDARY"]
    data.SeriesDescription, data.BurnedInAnnotation = "Structures of the CT drawn onto an X-ray", "YES"
    data.DerivationDescription = "Drawn by xrcore after an X-ray to CT registration; not for diagnosis"
    data.PatientOrientation = None
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PlanarConfiguration = 3, "RGB", 0
    data.Rows, data.Columns = pixels.shape[:2]
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    content = pixels.tobytes()
    data.PixelData = content + b"\0" * (len(content) % 2)
    with atomic_file(path) as temporary:
        data.save_as(temporary, enforce_file_format=True)
    return path
