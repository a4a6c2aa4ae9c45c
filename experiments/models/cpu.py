"""Convolutions in forms that XLA runs fast, each exactly the plain definition, by test.

Why: docs/training.md. Nothing here is needed to understand a model; `models.py` reads as LeNet.
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
    """Has glibc use freed memory again rather than return it; whether there is such a library.

    A step's temporary memory, above 32 MB, would be mapped and cleared page by page in every step:
    a third of the time of one of LeNet at batch 512.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    mmap_max, trim_threshold = -4, -1
    return bool(mallopt(mmap_max, 0) and mallopt(trim_threshold, 2**31 - 1))


IN_CACHE = 2**17  # numbers that a core's second-level cache holds: 512 kB of float32


def _parts(batch: int, *shapes) -> int:
    """In how many parts a batch is read, so that a part of such arrays lies in the cache."""
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
    """Both gradients as convolutions in the same form, that of the kernel part by part.

    XLA's CPU backend brings convolutions to the form of its fast kernel in the entry computation
    alone; JAX's own gradients are not in it, so that they would run 6 to 24 times slower in a scan.
    """
    x, kernel = saved
    sizes = list(
        zip(x.shape[1:3], kernel.shape, strides, padding, gradient.shape[1:3], strict=False)
    )
    # Of the input: the gradient, spread by the strides, with the kernel turned around.
    around = [
        (k - 1 - low, size + k - 1 - (s * (out - 1) + 1) - (k - 1 - low))
        for size, k, s, (low, _), out in sizes
    ]
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    to_x = lax.conv_general_dilated(
        gradient, turned, (1, 1), around, lhs_dilation=strides, dimension_numbers=FORM
    )
    # Of the kernel: channels as batch, batch as channels, the gradient as a kernel.
    around = [(low, s * (out - 1) + k - size - low) for size, k, s, (low, _), out in sizes]

    def add(total, part):
        x, gradient = part
        return total + lax.conv_general_dilated(
            x.transpose(3, 1, 2, 0), gradient.transpose(1, 2, 0, 3), (1, 1), around,
            rhs_dilation=strides, dimension_numbers=FORM,
        ), None  # fmt: skip

    # The kernel reads all of its input for each of its outputs: out of the cache, it is up to 6
    # times as fast.
    n = _parts(x.shape[0], x.shape[1:], gradient.shape[1:])
    height, width, channels, features = kernel.shape
    total = jnp.zeros((channels, height, width, features), kernel.dtype)
    to_kernel, _ = lax.scan(add, total, (_in_parts(n, x), _in_parts(n, gradient)))
    return to_x, to_kernel.transpose(1, 2, 0, 3)


_conv.defvjp(_forward, _backward)


def conv(x, kernel, strides, padding, **unused):
    """In place of `lax.conv_general_dilated`, for `flax.linen.Conv` in two dimensions."""
    del unused  # no dilation, one group, NHWC and HWIO: what the models use
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding)
    return _conv(x, kernel, tuple(strides), tuple(map(tuple, padding)))


def _maximum(x, axes):
    return functools.reduce(jnp.maximum, (x[index] for index in _phases(x, axes)))


def _phases(x, axes):
    """The four indices that leave out two axes of size 2, or the two of one."""
    for values in np.ndindex(*(x.shape[axis] for axis in axes)):
        index = [slice(None)] * x.ndim
        for axis, value in zip(axes, values, strict=True):
            index[axis] = value
        yield tuple(index)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _max(x, axes):
    """Maximum over short axes; equal values share the gradient.

    XLA's CPU backend would divide and branch for every input; it takes 7 times as long.
    """
    return _maximum(x, axes)


def _max_forward(x, axes):
    largest = _maximum(x, axes)
    return largest, (x, largest)


def _max_backward(axes, saved, gradient):
    x, largest = saved
    number = sum((x[index] == largest).astype(x.dtype) for index in _phases(x, axes))
    # Computed once for each maximum, not again for each input, as fused they would be.
    largest, share = lax.optimization_barrier((largest, gradient / number))
    largest, share = (jnp.expand_dims(array, axes) for array in (largest, share))
    return (jnp.where(x == largest, share, 0),)


_max.defvjp(_max_forward, _max_backward)


def max_pool(x):
    """2x2 maximum of (B, H, W, C), H and W even; equal values share the gradient."""
    b, h, w, c = x.shape
    return _max(x.reshape(b, h // 2, 2, w // 2, 2, c), (2, 4))


def space_to_depth(x):
    """Blocks of 2x2 pixels as channels: (..., H, W, C) to (..., H/2, W/2, 4 C)."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b, h // 2, w // 2, 4 * c)


def conv_then_max_pool(x, kernel):
    """A 5x5 convolution without padding, then a 2x2 maximum, over blocks of 2x2 pixels.

    The four values that one maximum is taken of become channels: 24 instead of 6 for the first
    convolution of LeNet, of which the fast kernel makes good use, and the maximum needs no window.
    """
    h, w, channels, features = kernel.shape
    # At phase (a, b) in a block of outputs, the kernel lies (a, b) pixels further on.
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

    # Forward and backward, a part of the batch at a time, so that all of it stays in the cache.
    outputs = (x.shape[1] - 4) * (x.shape[2] - 4) * features
    n = _parts(x.shape[0], x.shape[1:], (outputs,))
    y = lax.map(stage, _in_parts(n, x))
    return y.reshape(x.shape[0], *y.shape[2:])
