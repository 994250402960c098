"""CT file -> Volume."""

from xrcore.ct.hu_image import HuImage, volume_from_hu
from xrcore.ct.reading import read_ct, read_hu
from xrcore.ct.volume import Volume

__all__ = ["HuImage", "Volume", "read_ct", "read_hu", "volume_from_hu"]
