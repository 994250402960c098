"""CT file -> Volume."""

from xrcore.ct.hu_image import HuImage, volume_from_hu
from xrcore.ct.mesh import place_mesh, read_mesh
from xrcore.ct.reading import read_ct, read_hu
from xrcore.ct.volume import Volume

__all__ = ["HuImage", "Volume", "place_mesh", "read_ct", "read_hu", "read_mesh", "volume_from_hu"]
