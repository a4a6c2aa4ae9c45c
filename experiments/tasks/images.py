"""Image augmentation: crop, flip, normalisation, Cutout and mixup.

All random draws are pure functions of (seed, step), the same on every platform.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import rng
from experiments.checks import within
from experiments.data import Dataset, Examples
from experiments.data.encoded import Encoded


class Augment(NamedTuple):
    """The settings of `config.augment`."""

    pad: int  # width of the zero margin for random crops of the original size
    flip: bool  # flip left to right with probability 1/2
    cutout: int  # side of a square around a random pixel that is set to the mean; 0: none
    mixup: float = 0.0  # alpha of mixup's Beta(alpha, alpha); 0: none


def augment(image_shape, *, pad: int, flip: bool, cutout: int, mixup: float) -> Augment:
    if len(image_shape) == 1 and (pad or flip or cutout):
        said = f"rows of numbers are no images: expected 0, False, 0, got {pad}, {flip}, {cutout}"
        raise ValueError(f"config.augment.pad, flip, cutout: {said}")
    within("config.augment.pad", pad, 0, 100)
    within("config.augment.cutout", cutout, 0, 2 * max(image_shape[:2]))
    within("config.augment.mixup", mixup, 0, 100)
    return Augment(pad, flip, cutout, mixup)


LARGEST_BATCH = 2**25  # bytes of the images that are evaluated at once, when these are large


def evaluated_at_once(image_shape) -> int:
    """How many images are evaluated at once: those of memory and of files in the same batches."""
    return max(1, LARGEST_BATCH // int(np.prod(image_shape)))


def padded(examples: Examples, augment: Augment) -> Examples:
    """Adds the zero margin for crops."""
    if not augment.pad:
        return examples
    if isinstance(examples.inputs, Encoded):
        return examples._replace(inputs=examples.inputs.padded(augment.pad))
    margin = ((0, 0), (augment.pad,) * 2, (augment.pad,) * 2, (0, 0))
    return examples._replace(inputs=np.pad(examples.inputs, margin))


def normalise(images, dataset: Dataset):
    """Converts uint8 images to float32, normalised by the data set's mean and std per channel.

    Rows of numbers, which are standardised, stay as they are.
    """
    if images.ndim == 2:
        return images
    shape = (1, 1, 1, -1)  # explicit, for users who forbid rank promotion
    mean, std = (np.array(v, np.float32).reshape(shape) for v in (dataset.mean, dataset.std))
    return (images.astype(jnp.float32) - mean) / std


def below(bits, number: int):
    """Returns integers in [0, number) from the upper 16 bits, uniform to 1 in 65,536."""
    return ((bits >> 16) * number >> 16).astype(jnp.int32)


def draw(images, positions, dataset: Dataset, augment: Augment, seed, step, purpose=rng.AUGMENT):
    """Returns the training images at `positions`: cropped, flipped, normalised, with Cutout."""
    if images.ndim == 2:
        return images[positions]
    bits = bits_of(positions, seed, step, purpose)
    drawn = normalise(crops(images, positions, augment, bits), dataset)
    return cut_out(drawn, augment.cutout, bits)


BITS = 5  # that an image needs


def bits_of(positions, seed, step, purpose: int, number: int = BITS):
    """Returns random bits of shape (number, batch)."""
    # Drawn as (batch, number): padding a batch does not change the draws of its examples.
    return rng.bits(rng.key_for(seed, purpose, step), (positions.shape[0], number)).T


def crops(images, positions, augment: Augment, bits):
    """Returns the images at `positions`, cropped and flipped, still uint8."""
    height, width = (size - 2 * augment.pad for size in images.shape[1:3])
    if augment.pad:
        y, x = (below(bits[i], 2 * augment.pad + 1) for i in (0, 1))
        window = (1, height, width, images.shape[3])

        def crop(position, y, x):
            start = (position, y, x, jnp.int32(0))  # same type, also under x64
            return jax.lax.dynamic_slice(images, start, window)[0]

        # Reads only the window: nothing larger is copied.
        drawn = jax.vmap(crop)(positions, y, x)
    else:
        drawn = images[positions]
    if augment.flip:
        flip = (bits[2] >> 31 == 1)[:, None, None, None]
        drawn = jnp.where(flip, drawn[:, :, ::-1], drawn)
    return drawn


def cut_out(images, side: int, bits):
    """Sets a square around a random pixel of each normalised image to 0, which is the mean."""
    if not side:
        return images
    inside = []
    for b, size in zip(bits[3:5], images.shape[1:3], strict=True):
        offset = jnp.arange(size)[None] - below(b, size)[:, None] + side // 2
        inside.append((offset >= 0) & (offset < side))
    square = inside[0][:, :, None, None] & inside[1][:, None, :, None]
    return jnp.where(square, 0, images)


class Mixture(NamedTuple):
    part: jax.Array  # weight of each example; its partner has 1 - part
    partner: jax.Array  # the partner's position in the batch


def mixture(positions, augment: Augment, seed, step) -> Mixture:
    """Chooses each example's partner: the next one in the batch, whose order is random.

    As in Hongyi Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018, the whole
    batch shares one weight from Beta(mixup, mixup).
    """
    key = rng.key_for(seed, rng.MIXUP, step)
    part = jax.random.beta(key, augment.mixup, augment.mixup, dtype=jnp.float32)
    number = jnp.sum(positions >= 0, dtype=jnp.int32)  # padding comes last
    partner = (jnp.arange(len(positions), dtype=jnp.int32) + 1) % number
    return Mixture(jnp.full(len(positions), part), partner)


def mixed(images, mix: Mixture):
    part = mix.part.reshape(-1, *[1] * (images.ndim - 1))
    return part * images + (1 - part) * images[mix.partner]
