"""Acquired images: DICOM, TIFF and PNG <-> Xray, and the C-arm's geometry in carm.yaml."""

from xrcore.xray.carm_file import read_carm, write_carm
from xrcore.xray.image import Xray
from xrcore.xray.reading import read_xray
from xrcore.xray.writing import write_xray

__all__ = ["Xray", "read_carm", "read_xray", "write_carm", "write_xray"]
