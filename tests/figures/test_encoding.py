"""Pictures as a browser gets them."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from xrcore._util.errors import XrcoreError
from xrcore.figures import picture_html
from xrcore.figures.encoding import array_png


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 3)])
def test_a_png_holds_the_values(shape):
    values = np.random.default_rng(0).uniform(-0.2, 1.2, shape)
    shown = np.asarray(Image.open(io.BytesIO(array_png(values))))
    np.testing.assert_allclose(shown / 255, np.clip(values, 0, 1), atol=0.5 / 255 + 1e-9)


def test_html_holds_the_picture_and_an_escaped_caption():
    picture = np.linspace(0, 1, 12).reshape(3, 4)
    html = picture_html(picture, "a < b\nsecond line", width=200)
    data = re.search(r'src="data:image/png;base64,([^"]+)"', html)
    assert data
    assert base64.b64decode(data[1]) == array_png(picture)
    assert 'width="200"' in html
    assert "a &lt; b\nsecond line" in html
    assert "<figcaption>" not in picture_html(picture)


def test_html_refuses_a_batch():
    with pytest.raises(XrcoreError, match=r"picture_html: picture must be \(H, W\) or \(H, W, 3\), got \(1, 3, 4\)"):
        picture_html(np.zeros((1, 3, 4)))
