"""Named C-arms."""

from __future__ import annotations

from xrcore.geometry.carm import CArm

# The mobile C-arm of the paper (Zhang et al., MICCAI 2023): a detector of 432 mm square, cut into 256 x 256 pixels.
PAPER_CARM = CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(256, 256), pixel_spacing=1.6875)
