"""The guard sees what makes a program slower, and nothing where nothing changed."""

import json

import jax
import jax.numpy as jnp
import pytest

from scripts import bench_guard
from scripts.bench_guard import figures, grown
from superloss_jax import superloss

transform = superloss()
LOSSES = jax.ShapeDtypeStruct((4096,), jnp.float32)
IMAGES = jax.ShapeDtypeStruct((8, 16, 16, 4), jnp.float32)
KERNEL = jax.ShapeDtypeStruct((3, 3, 4, 4), jnp.float32)


def once(losses):
    return transform.update(losses, transform.init())[0]


def twice(losses):
    return once(losses) + once(1.001 * losses)


def unfused(losses):
    return once(jax.lax.optimization_barrier(2 * losses) - losses)


def convolved(x, kernel, layout="NHWC"):
    numbers = (layout, "HWIO", layout)
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=numbers)


def moved(x, kernel):
    return jnp.moveaxis(convolved(jnp.moveaxis(x, -1, 1), kernel, "NCHW"), 1, 2)


def of(function, *args):
    return figures(jax.jit(function).lower(*args).compile())


@pytest.mark.parametrize(
    ("before", "after", "args", "figure"),
    [
        (once, twice, (LOSSES,), "flops"),
        (once, unfused, (LOSSES,), "fusions"),
        (convolved, moved, (IMAGES, KERNEL), "transposes"),
    ],
    ids=["a second pass", "a lost fusion", "a transpose"],
)
def test_what_slows_a_program_is_seen(before, after, args, figure):
    known = of(before, *args)
    assert grown("it", of(before, *args), known) == []
    assert any(f"it: {figure} " in line for line in grown("it", of(after, *args), known))


def test_a_tenth_is_allowed_and_a_program_of_its_own_is_not():
    assert grown("it", {"flops": 110.0, "loops": 0.0}, {"flops": 100.0, "loops": 0.0}) == []
    said = grown("it", {"flops": 111.0, "loops": 1.0}, {"flops": 100.0, "loops": 0.0})
    assert said == ["it: flops 100 -> 111", "it: loops 0 -> 1"]
    assert grown("it", {"flops": 5.0}, {}) == ["it: flops 0 -> 5"]


def test_the_committed_figures_are_of_these_programs():
    known = json.loads(bench_guard.FILE.read_text())
    assert known["figures"].keys() == bench_guard.PROGRAMS.keys()
    assert all(one["flops"] > 1e5 for one in known["figures"].values())
