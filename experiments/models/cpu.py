"""Convolutions and pooling in forms that XLA runs fast on CPU; tests compare them with plain ones.

docs/training.md explains why. You can read the models in networks.py without this file.
"""

import ctypes
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

FORM = ("NHWC", "HWIO", "NHWC")


def keep_freed_memory() -> bool:
    """Makes glibc keep freed memory for reuse; returns False if there is no glibc.

    Otherwise each step maps and clears its temporary memory (blocks above 32 MB) again, page by
    page. For LeNet at batch 512, that takes a third of the step.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    mmap_max, trim_threshold = -4, -1
    return bool(mallopt(mmap_max, 0) and mallopt(trim_threshold, 2**31 - 1))


IN_CACHE = 2**17  # float32 values in a core's L2 cache of 512 kB


def _parts(batch: int, *shapes) -> int:
    """Returns the number of parts to split a batch into so that one part fits in the cache.

    `shapes` are the shapes per example of all arrays that are in use at once.
    """
    size = sum(map(math.prod, shapes))
    if jax.default_backend() != "cpu":
        return 1
    fitting = (n for n in range(1, batch) if batch % n == 0 and batch * size <= n * IN_CACHE)
    return next(fitting, max(1, batch))


def _in_parts(n, array):
    return array.reshape(n, array.shape[0] // n, *array.shape[1:])


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv(x, kernel, strides, padding):
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=FORM)


def _forward(x, kernel, strides, padding):
    return _conv(x, kernel, strides, padding), (x, kernel)


def _backward(strides, padding, saved, gradient):
    """Computes both gradients as convolutions of the form FORM, the kernel's in parts of the batch.

    XLA's CPU backend rewrites convolutions for its fast kernel only in the entry computation. In a
    scan, JAX's own gradients are not rewritten and run 6 to 24 times slower.
    """
    x, kernel = saved
    sizes = list(
        zip(x.shape[1:3], kernel.shape, strides, padding, gradient.shape[1:3], strict=False)
    )
    # Input gradient: the output gradient, dilated by the strides, with the flipped kernel.
    around = [
        (k - 1 - low, size + k - 1 - (s * (out - 1) + 1) - (k - 1 - low))
        for size, k, s, (low, _), out in sizes
    ]
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    to_x = lax.conv_general_dilated(
        gradient, turned, (1, 1), around, lhs_dilation=strides, dimension_numbers=FORM
    )
    # Kernel gradient: channels act as batch, the batch as channels, the gradient as the kernel.
    around = [(low, s * (out - 1) + k - size - low) for size, k, s, (low, _), out in sizes]

    def add(total, part):
        x, gradient = part
        return total + lax.conv_general_dilated(
            x.transpose(3, 1, 2, 0), gradient.transpose(1, 2, 0, 3), (1, 1), around,
            rhs_dilation=strides, dimension_numbers=FORM,
        ), None  # fmt: skip

    # Each output reads the whole input, so it is up to 6 times as fast if the input is in cache.
    n = _parts(x.shape[0], x.shape[1:], gradient.shape[1:])
    height, width, channels, features = kernel.shape
    total = jnp.zeros((channels, height, width, features), kernel.dtype)
    to_kernel, _ = lax.scan(add, total, (_in_parts(n, x), _in_parts(n, gradient)))
    return to_x, to_kernel.transpose(1, 2, 0, 3)


_conv.defvjp(_forward, _backward)


def conv(x, kernel, strides, padding, **unused):
    """Replaces `lax.conv_general_dilated` in 2D `flax.linen.Conv`."""
    del unused  # the models use no dilation, one group, NHWC and HWIO
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding)
    return _conv(x, kernel, tuple(strides), tuple(map(tuple, padding)))


def _maximum(x, axes):
    return functools.reduce(jnp.maximum, (x[index] for index in _phases(x, axes)))


def _phases(x, axes):
    """Yields an index for each combination of positions along `axes`."""
    for values in np.ndindex(*(x.shape[axis] for axis in axes)):
        index = [slice(None)] * x.ndim
        for axis, value in zip(axes, values, strict=True):
            index[axis] = value
        yield tuple(index)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _max(x, axes):
    """Maximum over short axes; ties share the gradient.

    JAX's own maximum takes 7 times as long on CPU: XLA divides and branches for every input.
    """
    return _maximum(x, axes)


def _max_forward(x, axes):
    largest = _maximum(x, axes)
    return largest, (x, largest)


def _max_backward(axes, saved, gradient):
    x, largest = saved
    number = sum((x[index] == largest).astype(x.dtype) for index in _phases(x, axes))
    # The barrier prevents fusion, which would recompute the share for every input.
    largest, share = lax.optimization_barrier((largest, gradient / number))
    largest, share = (jnp.expand_dims(array, axes) for array in (largest, share))
    return (jnp.where(x == largest, share, 0),)


_max.defvjp(_max_forward, _max_backward)


def max_pool(x):
    """2x2 max pooling of (B, H, W, C) with even H and W; ties share the gradient."""
    b, h, w, c = x.shape
    return _max(x.reshape(b, h // 2, 2, w // 2, 2, c), (2, 4))


def space_to_depth(x):
    """Moves blocks of 2x2 pixels into channels: (B, H, W, C) to (B, H/2, W/2, 4 C)."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b, h // 2, w // 2, 4 * c)


def conv_then_max_pool(x, kernel):
    """A 5x5 convolution without padding followed by 2x2 max pooling, computed on 2x2 blocks.

    The four values of each pooling window become channels. The first convolution of LeNet then has
    24 output channels instead of 6, which suits the fast kernel, and pooling needs no window.
    """
    h, w, channels, features = kernel.shape
    # The output at phase (a, b) of a block uses the kernel shifted by (a, b) pixels.
    phases = [
        jnp.pad(kernel, ((a, 1 - a), (b, 1 - b), (0, 0), (0, 0))) for a in (0, 1) for b in (0, 1)
    ]
    blocks = jnp.stack(phases, axis=-2).reshape(
        (h + 1) // 2, 2, (w + 1) // 2, 2, channels, 4 * features
    )
    blocks = blocks.transpose(0, 2, 1, 3, 4, 5)
    blocks = blocks.reshape((h + 1) // 2, (w + 1) // 2, 4 * channels, 4 * features)

    def stage(x):
        y = conv(space_to_depth(x), blocks, (1, 1), "VALID")
        return _max(y.reshape(*y.shape[:3], 4, features), (3,))

    # Forward and backward passes handle one part of the batch at a time, which fits in the cache.
    outputs = (x.shape[1] - 4) * (x.shape[2] - 4) * features
    n = _parts(x.shape[0], x.shape[1:], (outputs,))
    y = lax.map(stage, _in_parts(n, x))
    return y.reshape(x.shape[0], *y.shape[2:])
