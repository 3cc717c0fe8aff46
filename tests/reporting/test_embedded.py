import base64
import io

import numpy as np
from PIL import Image

from dstc.reporting.embedded import data_uri


def decoded(uri):
    head, _, content = uri.partition(",")
    assert head == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content, validate=True))).convert("RGB"))


def test_label_maps_keep_every_pixel():
    colors = np.random.default_rng(0).integers(0, 256, (19, 3), dtype=np.uint8)
    label = colors[np.random.default_rng(1).integers(0, 19, (40, 60))]
    assert np.array_equal(decoded(data_uri(label, width=60)), label)


def test_photos_become_much_smaller_and_stay_what_they_are():
    ramp = np.linspace(0, 255, 200)
    noise = np.random.default_rng(0).normal(0, 8, (200, 200, 3))
    photo = (np.stack(np.broadcast_arrays(ramp, ramp[:, None], 128.0), -1) + noise).clip(0, 255).astype(np.uint8)
    uri = data_uri(photo, width=200)
    assert len(uri) < photo.nbytes / 10
    assert np.abs(decoded(uri).astype(int) - photo).mean() < 10


def test_wide_images_are_shrunk_in_proportion():
    assert decoded(data_uri(np.zeros((50, 300, 3), np.uint8), width=100)).shape == (17, 100, 3)
