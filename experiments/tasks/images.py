"""Images as they are trained on: cropped, flipped, normalised, with a square cut out, mixed.

All that is drawn is a pure function of (seed, step), the same on every platform.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import rng
from experiments.checks import within
from experiments.data import Dataset, Examples


class Augment(NamedTuple):
    """How training images are drawn; from `config.augment`."""

    pad: int  # zeros around an image, of which a window of its own size is cut
    flip: bool  # left to right, half of them
    cutout: int  # side of the square set to the mean, about any pixel; 0 for none
    mixup: float = 0.0  # a and b of the Beta distribution of a mixture's part; 0 for none


def augment(image_shape, *, pad: int, flip: bool, cutout: int, mixup: float) -> Augment:
    within("config.augment.pad", pad, 0, 100)
    within("config.augment.cutout", cutout, 0, 2 * max(image_shape[:2]))
    within("config.augment.mixup", mixup, 0, 100)
    return Augment(pad, flip, cutout, mixup)


def padded(examples: Examples, augment: Augment) -> Examples:
    """With the margin that crops reach into."""
    if not augment.pad:
        return examples
    margin = ((0, 0), (augment.pad,) * 2, (augment.pad,) * 2, (0, 0))
    return examples._replace(inputs=np.pad(examples.inputs, margin))


def normalise(images, dataset: Dataset):
    """uint8 images to float32, by the data set's mean and standard deviation of each channel."""
    shape = (1, 1, 1, -1)  # explicit, for users who forbid rank promotion
    mean, std = (np.array(v, np.float32).reshape(shape) for v in (dataset.mean, dataset.std))
    return (images.astype(jnp.float32) - mean) / std


def _below(bits, number: int):
    """Uniform integers in [0, number) from the upper 16 bits, to 1 in 65,536."""
    return ((bits >> 16) * number >> 16).astype(jnp.int32)


def draw(images, positions, dataset: Dataset, augment: Augment, seed, step):
    """Training images at `positions`, cropped, flipped, normalised, with a square cut out."""
    batch = positions.shape[0]
    height, width = (size - 2 * augment.pad for size in images.shape[1:3])
    # In this order, so that padding a batch changes nothing for the others in it.
    bits = rng.bits(rng.key_for(seed, rng.AUGMENT, step), (batch, 5)).T
    if augment.pad:
        y, x = (_below(bits[i], 2 * augment.pad + 1) for i in (0, 1))
        window = (1, height, width, images.shape[3])

        def crop(position, y, x):
            start = (position, y, x, jnp.int32(0))  # of one type, with x64 too
            return jax.lax.dynamic_slice(images, start, window)[0]

        # One read of the window itself: nothing larger is ever copied.
        drawn = jax.vmap(crop)(positions, y, x)
    else:
        drawn = images[positions]
    if augment.flip:
        flip = (bits[2] >> 31 == 1)[:, None, None, None]
        drawn = jnp.where(flip, drawn[:, :, ::-1], drawn)
    drawn = normalise(drawn, dataset)
    if augment.cutout:
        inside = []
        for b, size in ((bits[3], height), (bits[4], width)):
            below = jnp.arange(size)[None] - _below(b, size)[:, None] + augment.cutout // 2
            inside.append((below >= 0) & (below < augment.cutout))
        square = inside[0][:, :, None, None] & inside[1][:, None, :, None]
        drawn = jnp.where(square, 0, drawn)
    return drawn


class Mixture(NamedTuple):
    part: jax.Array  # of each example, in its mixture with its partner
    partner: jax.Array  # position in the batch


def mixture(positions, augment: Augment, seed, step) -> Mixture:
    """With whom each example is mixed: the next of a batch whose order is random.

    Hongyi Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018: one part for all
    of a batch, from Beta(mixup, mixup).
    """
    key = rng.key_for(seed, rng.MIXUP, step)
    part = jax.random.beta(key, augment.mixup, augment.mixup, dtype=jnp.float32)
    number = jnp.sum(positions >= 0, dtype=jnp.int32)  # padding comes last
    partner = (jnp.arange(len(positions), dtype=jnp.int32) + 1) % number
    return Mixture(jnp.full(len(positions), part), partner)


def mixed(images, mix: Mixture):
    part = mix.part[:, None, None, None]
    return part * images + (1 - part) * images[mix.partner]
