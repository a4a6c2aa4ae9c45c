"""Strong augmentation: RandAugment's operations, drawn per image and computed on the device.

Each image gets some operations, drawn with replacement from the eleven below, each with a magnitude
drawn from FixMatch's range, but that posterize keeps 5 bits at least. Autocontrast, equalize and
sharpness of the original list are left out. From Ekin D. Cubuk et al., "RandAugment: Practical
Automated Data Augmentation with a Reduced Search Space", NeurIPS 2020.
"""

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from experiments.tasks import images as plain

COLOURS = ("brightness", "contrast", "saturation", "posterize", "solarize")
MOVES = ("rotate", "shear_y", "shear_x", "translate_y", "translate_x")
OPERATIONS = ("identity", *COLOURS, *MOVES)
BITS = 2  # that an operation needs


def strong(images, dataset, white: int, bits):
    """Returns uint8 images with a random operation for every two rows of bits, normalised.

    `white` is the data set's largest pixel: digits have 16. Where nothing is left after a move, it
    fills with the mean.
    """
    values = images.astype(jnp.float32) * (255 / white)
    moves = jnp.tile(jnp.eye(3, dtype=jnp.float32), (len(images), 1, 1))
    for chosen, size in zip(bits[::BITS], bits[1::BITS], strict=True):
        operation = plain.below(chosen, len(OPERATIONS))
        part = (size >> 8).astype(jnp.float32) / 2**24
        sign = jnp.where(chosen & 1 == 1, 1.0, -1.0).astype(jnp.float32)
        values = jax.vmap(coloured)(values, operation, part)
        moves = moves @ jax.vmap(move)(operation, part * sign)
    return jax.vmap(moved)(plain.normalise(values * (white / 255), dataset), moves)


def coloured(image, operation, part):
    """Applies one of COLOURS to an image with values from 0 to 255; part is from 0 to 1."""
    factor = 0.05 + 0.9 * part
    grey = image.mean(axis=-1, keepdims=True)
    step = 2.0 ** jnp.floor(4 * part)  # 5 to 8 bits stay
    results = {
        "brightness": factor * image,
        "contrast": grey.mean() + factor * (image - grey.mean()),
        "saturation": grey + factor * (image - grey),
        "posterize": jnp.floor(image / step) * step,
        "solarize": jnp.where(image >= 256 * part, 255 - image, image),
    }
    for name, result in results.items():
        image = jnp.where(operation == OPERATIONS.index(name), result, image)
    return image


def move(operation, part):
    """Returns one of MOVES as a matrix for (y, x, 1), with the image from -1 to 1, as part is."""
    angle = part * jnp.pi / 6
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    shift = 0.3 * part
    results = {
        "rotate": ((cos, -sin, 0), (sin, cos, 0)),
        "shear_y": ((1, shift, 0), (0, 1, 0)),
        "shear_x": ((1, 0, 0), (shift, 1, 0)),
        "translate_y": ((1, 0, 2 * shift), (0, 1, 0)),
        "translate_x": ((1, 0, 0), (0, 1, 2 * shift)),
    }
    matrix = jnp.eye(3, dtype=jnp.float32)
    for name, rows in results.items():
        result = jnp.array((*rows, (0, 0, 1)), jnp.float32)
        matrix = jnp.where(operation == OPERATIONS.index(name), result, matrix)
    return matrix


def moved(image, matrix):
    """Samples a normalised image bilinearly where the matrix says that each pixel comes from."""
    height, width, _ = image.shape
    half = jnp.array([(height - 1) / 2, (width - 1) / 2], jnp.float32)
    y, x = jnp.meshgrid(*(jnp.linspace(-1, 1, size) for size in (height, width)), indexing="ij")
    places = jnp.tensordot(matrix[:2], jnp.stack([y, x, jnp.ones_like(y)]).astype(jnp.float32), 1)
    places = (places + 1) * half[:, None, None]
    # Over channels by vmap: one gather of whole pixels is much faster than one for each channel.
    sampled = jax.vmap(lambda one: map_coordinates(one, list(places), order=1), 2, 2)
    return sampled(image)
