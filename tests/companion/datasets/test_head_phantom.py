"""Portal images of the head phantom: bytes without a header, and where their cameras stand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from companion.datasets.head_phantom import CARM, GANTRY, HeadPhantom, camera_from_room, image_name, read_portal_image
from xrcore import Pose, XrcoreError
from xrcore.geometry import rigid


@pytest.mark.parametrize("gantry", GANTRY)
def test_a_gantry_angle_is_the_primary_angle(gantry):
    """Room axes are the patient's, so at the isocentre gantry g is the pose ry = -g."""
    pose = Pose.from_camera_from_world(camera_from_room(gantry), CARM, torch.zeros(3, dtype=torch.float64))
    assert torch.allclose(pose.numbers, Pose(ry=-gantry).numbers, atol=1e-5)


def test_the_source_goes_to_the_left_as_the_angle_grows():
    source = rigid.invert(camera_from_room(20.0))[:3, 3]
    expected = 1000 * torch.tensor([np.sin(np.deg2rad(20)), -np.cos(np.deg2rad(20)), 0], dtype=torch.float64)
    assert torch.allclose(source, expected)


def test_an_image_is_read_as_attenuation_within_its_field(tmp_path):
    values = np.full((512, 512), 200, dtype=np.uint8)
    values[200:300, 200:300] = 50
    values[:, :20] = 0  # blocked
    values[300, 300] = 0  # a dead pixel and what the erosion takes around it
    (tmp_path / "1-0002.raw").write_bytes(values.tobytes())
    xray = read_portal_image(tmp_path / "1-0002.raw")
    assert float(xray.image[250, 250] - xray.image[400, 400]) == pytest.approx(np.log(4))
    assert not xray.mask[:, :20].any()
    assert not xray.mask[:60].any()
    assert xray.mask[70:500, 30:250].all()


def test_what_is_no_portal_image_is_one_line(tmp_path):
    (tmp_path / "short.raw").write_bytes(bytes(100))
    with pytest.raises(XrcoreError, match="holds 100 bytes; a portal image has 512 x 512"):
        read_portal_image(tmp_path / "short.raw")
    (tmp_path / "black.raw").write_bytes(bytes(512 * 512))
    with pytest.raises(XrcoreError, match="shows no field"):
        read_portal_image(tmp_path / "black.raw")
    with pytest.raises(XrcoreError, match="no image at gantry 3"):
        image_name(3)


def test_the_real_images_are_read(shared_data):
    folder = shared_data / "xray" / "rando_head_mv"
    data = HeadPhantom(folder / "ct", folder / "epid")
    for gantry in GANTRY:
        xray = data.view(gantry).xray
        assert 0.75 < float(xray.mask.float().mean()) < 0.9
        head, air = xray.image[200:300, 200:250].mean(), xray.image[70:200, 30:60].mean()
        assert float(head) > float(air) + 0.3
