"""Strong augmentation: each operation against Pillow's."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from experiments.data.base import Dataset
from experiments.tasks import images, strong

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (32, 32, 3), np.uint8)
PLAIN = Dataset("plain", ("a", "b"), (), (), (), mean=(0.0,) * 3, std=(1.0,) * 3)
PART = 0.4


def factor(part):
    return 0.05 + 0.9 * part


def gray(image):
    """Pillow weighs the channels of its grey image, ours does not."""
    return Image.fromarray(np.repeat(np.asarray(image).mean(-1, keepdims=True), 3, -1).astype("u1"))


REFERENCE = {
    "brightness": lambda image, part: ImageEnhance.Brightness(image).enhance(factor(part)),
    "contrast": lambda image, part: Image.blend(
        Image.new("RGB", image.size, (round(np.asarray(image).mean()),) * 3), image, factor(part)
    ),
    "saturation": lambda image, part: Image.blend(gray(image), image, factor(part)),
    "posterize": lambda image, part: ImageOps.posterize(image, 8 - int(4 * part)),
    "solarize": lambda image, part: ImageOps.solarize(image, 256 * part),
}


@pytest.mark.parametrize("part", [0.0, 0.4, 0.99])
@pytest.mark.parametrize("name", strong.COLOURS)
def test_colours_are_pillows(name, part):
    expected = np.asarray(REFERENCE[name](Image.fromarray(PICTURE), part), np.float32)
    number = strong.OPERATIONS.index(name)
    found = strong.coloured(jnp.asarray(PICTURE, jnp.float32), number, jnp.float32(part))
    np.testing.assert_allclose(found, expected, atol=2)  # Pillow rounds


def smooth():
    """A picture without edges, so that Pillow's rounding of places does not show."""
    y, x = np.mgrid[:33, :33] / 32
    return np.stack([200 * y, 200 * x, 100 + 100 * np.sin(3 * x * y)], axis=-1).astype(np.float32)


@pytest.mark.parametrize("part", [-1.0, -0.3, 0.6])
@pytest.mark.parametrize("name", strong.MOVES)
def test_moves_are_pillows(name, part):
    matrix = strong.move(strong.OPERATIONS.index(name), jnp.float32(part))
    found = strong.moved(jnp.asarray(smooth()), matrix)
    shift, middle = 0.3 * part, 16.0
    affine = {  # (a, b, c, d, e, f): x = a x + b y + c; y = d x + e y + f, about the middle
        "shear_y": (1, 0, 0, shift, 1, -shift * middle),
        "shear_x": (1, shift, -shift * middle, 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, 2 * shift * middle),
        "translate_x": (1, 0, 2 * shift * middle, 0, 1, 0),
    }
    for i in range(3):
        picture = Image.fromarray(smooth()[..., i])
        if name == "rotate":  # Pillow turns anticlockwise
            own = picture.rotate(-30 * part, Image.Resampling.BILINEAR)
        else:
            a, b, c, d, e, f = affine[name]
            # Pillow counts from the corners of pixels, ours from their middles.
            c, f = c + 0.5 - 0.5 * (a + b), f + 0.5 - 0.5 * (d + e)
            own = picture.transform(
                picture.size, Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BILINEAR
            )
        inside = np.zeros((33, 33), bool)
        inside[11:-11, 11:-11] = True  # at the border, the two fill differently
        np.testing.assert_allclose(np.where(inside, found[..., i] - np.asarray(own), 0), 0, atol=1)


def test_each_image_gets_its_own_operations():
    pictures = np.repeat(PICTURE[None], 300, axis=0)
    rows = np.arange(300, dtype=np.int32)
    bits = images.bits_of(rows, 0, 1, purpose=9, number=strong.BITS)
    found = np.asarray(strong.strong(pictures, PLAIN, 255, bits))
    operations = np.asarray(images.below(bits[0], len(strong.OPERATIONS)))
    assert set(operations) == set(range(len(strong.OPERATIONS)))
    same = operations == 0
    np.testing.assert_allclose(found[same], pictures[same], atol=1e-3)
    assert (np.abs(found - pictures)[~same].max(axis=(1, 2, 3)) > 3).mean() > 0.95
    again = np.asarray(strong.strong(pictures[:100], PLAIN, 255, bits[:, :100]))
    np.testing.assert_allclose(found[:100], again, atol=1e-3)
    # Images whose white is 15 become the same, but darker.
    dark = strong.strong(pictures // 16, PLAIN, 15, bits)
    bright = strong.strong(pictures // 16 * 17, PLAIN, 255, bits)
    np.testing.assert_allclose(17 * dark, bright, atol=0.01)
    none = strong.strong(pictures, PLAIN, 255, bits[:0])
    np.testing.assert_allclose(none, pictures, atol=1e-3)
