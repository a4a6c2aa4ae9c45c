"""Compares the models and their fast forms with plain definitions and published sizes."""

import functools
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from experiments.models import cpu, inits, networks
from experiments.models.resnet50 import generalized_mean
from tests.program.test_main import ROOT

# Numbers of parameters for ten classes, as in the authors' or the usual PyTorch code, and millions
# of multiplications and additions per image in the forward pass.
SIZES = {
    "mlp": (855_050, None),
    "lenet": (62_006, None),  # computing in blocks costs extra arithmetic
    "convnet": (307_498, 77),
    "convnet_small": (620_362, 6.215),
    "convnet_tiny": (72_986, 0.539),
    "convnet_norm": (34_058, None),
    "cnn8": (1_639_794, 267),
    "resnet18": (11_173_962, 1113),
    "resnet34": (21_282_122, 2321),
    "resnet50": (23_528_522, None),  # torchvision's 25,557,032 with 1,000 classes
    "resnet50_gem": (23_528_523, None),
    "preact_resnet18": (11_171_146, 1113),
    "wrn28_2": (1_467_610, 0),
    "wrn28_10": (36_479_194, 10_490),
    "vit_tiny": (5_362_762, 729),
    "vit_curbench": (9_523_722, 1280),
}


def contractions(jaxpr):
    """Counts multiplications and additions of all convolutions and matrix products."""
    total = 0
    for equation in jaxpr.eqns:
        for inner in jaxprs_in_params(equation.params):
            total += contractions(inner)
        shapes = [v.aval.shape for v in equation.invars[:2]]
        out = np.prod(equation.outvars[0].aval.shape) if equation.outvars else 0
        if equation.primitive.name == "conv_general_dilated":
            total += 2 * out * np.prod(shapes[1][:3])
        elif equation.primitive.name == "dot_general":
            over = equation.params["dimension_numbers"][0][0]
            total += 2 * out * np.prod([shapes[0][i] for i in over])
    return total


@pytest.mark.parametrize("name", networks.MODELS)
def test_published_sizes(name):
    model = networks.make_model(name, 10, (32, 32, 3))
    image = jnp.zeros((1, 32, 32, 3))
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), image, train=False))
    params, expected = SIZES[name]
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == params
    jaxpr = jax.make_jaxpr(lambda v, x: model.apply(v, x, train=False))(variables, image)
    if expected:
        assert contractions(jaxpr.jaxpr) / 1e6 == pytest.approx(expected, rel=0.01)


def test_gem_is_the_power_mean():
    x = np.random.default_rng(0).random((2, 3, 4, 5), np.float32)
    for power in (1.0, 3.0, 5.5):
        expected = np.mean(x.astype(float) ** power, axis=(1, 2)) ** (1 / power)
        np.testing.assert_allclose(generalized_mean(jnp.array(x), power), expected, rtol=1e-5)
    np.testing.assert_allclose(generalized_mean(jnp.array(x), 80.0), x.max((1, 2)), rtol=0.05)
    assert np.isfinite(jax.grad(lambda p: generalized_mean(jnp.zeros((1, 2, 2, 1)), p).sum())(3.0))


def plain_pool(x):
    return nn.max_pool(x, (2, 2), strides=(2, 2))


def plain_conv(x, kernel, strides, padding):
    return jax.lax.conv_general_dilated(
        x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def same_value_and_gradients(f, g, *args):
    weights = jax.random.normal(jax.random.key(9), jax.eval_shape(f, *args).shape)
    numbers = range(len(args))
    objectives = [lambda *a, h=h: jnp.sum(h(*a) * weights) for h in (f, g)]
    results = [jax.jit(jax.value_and_grad(h, numbers))(*args) for h in objectives]
    values, grads = zip(*results, strict=True)
    np.testing.assert_allclose(values[0], values[1], rtol=1e-4)
    for a, b in zip(*grads, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-4)


@pytest.mark.parametrize(
    ("size", "kernel", "strides", "padding"),
    [
        ((9, 8), (3, 3), (1, 1), "SAME"), ((9, 8), (3, 3), (2, 2), "SAME"),
        ((8, 8), (1, 1), (2, 2), ((0, 0), (0, 0))), ((8, 9), (3, 3), (2, 2), ((1, 1), (1, 1))),
        ((7, 7), (5, 5), (1, 1), "VALID"), ((8, 8), (2, 3), (3, 2), "VALID"),
    ],
)  # fmt: skip
def test_convolution_is_the_plain_one(size, kernel, strides, padding):
    x = jax.random.normal(jax.random.key(0), (2, *size, 3))
    weights = jax.random.normal(jax.random.key(1), (*kernel, 3, 4))
    same_value_and_gradients(
        lambda x, k: cpu.conv(x, k, strides, padding),
        lambda x, k: plain_conv(x, k, strides, padding), x, weights,
    )  # fmt: skip


def test_max_pool_is_the_plain_one():
    x = jax.random.normal(jax.random.key(0), (2, 6, 8, 3))
    same_value_and_gradients(cpu.max_pool, plain_pool, x)
    # Ties share the gradient.
    grads = jax.grad(lambda x: cpu.max_pool(x).sum())(jnp.ones((1, 2, 2, 1)))
    np.testing.assert_array_equal(grads, np.full((1, 2, 2, 1), 0.25))


def test_lenet_s_blocks_are_a_convolution_and_a_maximum():
    x = jax.random.normal(jax.random.key(0), (2, 14, 12, 3))
    kernel = jax.random.normal(jax.random.key(1), (5, 5, 3, 4))
    same_value_and_gradients(
        cpu.conv_then_max_pool,
        lambda x, k: plain_pool(plain_conv(x, k, (1, 1), "VALID")), x, kernel,
    )  # fmt: skip


def initial(model, x):
    return jax.jit(functools.partial(model.init, train=False))(jax.random.key(1), x)


class PlainLeNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        for features in (6, 16):
            x = plain_pool(nn.relu(nn.Conv(features, (5, 5), padding="VALID")(x)))
        x = x.reshape(x.shape[0], -1)
        for width in (120, 84):
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(10)(x)


def test_lenet_is_lenet():
    """The same parameters, the same logits, the same initial distribution."""
    x = jax.random.normal(jax.random.key(0), (4, 32, 32, 3))
    lenet = networks.make_model("lenet", 10, (32, 32, 3))
    ours = initial(lenet, x)
    plain = jax.jit(PlainLeNet().init)(jax.random.key(1), x)
    assert jax.tree.structure(ours) == jax.tree.structure(plain)
    logits = jax.jit(functools.partial(lenet.apply, train=False))(plain, x)
    np.testing.assert_allclose(logits, jax.jit(PlainLeNet().apply)(plain, x), atol=1e-5)
    spread = [np.std(v["params"]["Conv_1"]["kernel"]) for v in (ours, plain)]
    np.testing.assert_allclose(*spread, rtol=0.1)


def test_torch_initialisation():
    lenet = networks.make_model("lenet", 10, (32, 32, 3))
    params = initial(lenet, jnp.zeros((1, 32, 32, 3)))["params"]
    drawn = jax.jit(inits.torch_init)(params, jax.random.key(2))
    assert jax.tree.map(jnp.shape, drawn) == jax.tree.map(jnp.shape, params)
    for name, fan_in in (("Conv_0", 75), ("Conv_1", 150), ("Dense_0", 400), ("Dense_2", 84)):
        for values in drawn[name].values():
            bound = fan_in**-0.5
            assert abs(values).max() <= bound
            if values.size > 300:  # uniform, so the standard deviation follows from the bound
                assert np.std(values) == pytest.approx(bound / np.sqrt(3), rel=0.1)
    assert abs(drawn["Conv_0"]["bias"]).max() > 0


@pytest.mark.parametrize("name", ["lenet", "convnet_small"])
def test_bfloat16_is_close(name):
    x = jax.random.normal(jax.random.key(0), (4, 32, 32, 3))
    wide, narrow = (
        networks.make_model(name, 10, (32, 32, 3), dtype=d) for d in ("float32", "bfloat16")
    )
    variables = initial(wide, x)
    logits = jax.jit(functools.partial(narrow.apply, train=False))(variables, x)
    assert logits.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}
    expected = jax.jit(functools.partial(wide.apply, train=False))(variables, x)
    assert 0 < abs(logits - expected).max() < 0.1


def works(model, height, width):
    image = jnp.zeros((1, height, width, 1))
    try:
        jax.eval_shape(lambda: model.init(jax.random.key(0), image, train=False))
    except (TypeError, ValueError, ZeroDivisionError):  # as JAX's shapes do not fit
        return False
    return True


@pytest.mark.parametrize("name", networks.MODELS)
def test_every_size_is_refused_or_works(name, monkeypatch):
    """A model is refused exactly for the sizes at which it cannot be built."""
    deep = name.startswith(("resnet", "preact", "wrn"))  # slow to build, and any size will do
    for height in (1, 3) if deep else (1, 4, 8, 12, 14, 16, 24, 28, 30, 32):
        for width in {height, 32}:
            shape = (height, width, 1)
            try:
                networks.check_sides(name, shape, networks.MODELS)
                accepted = True
            except ValueError as error:
                accepted, said = False, str(error)
                assert f"{name} needs images" in said
                assert f"got {height}x{width}; pad them to" in said
                sides = said.partition("pad them to ")[2].partition(",")[0].split("x")
                networks.check_sides(name, tuple(map(int, sides)), networks.MODELS)
            with monkeypatch.context() as patched:
                patched.setattr(networks, "check_sides", lambda *args: None)
                model = networks.make_model(name, 10, shape)
            assert works(model, height, width) == accepted, shape
    with pytest.raises(ValueError, match="got 30x30; pad them to 32x32, or choose a model for any"):
        networks.make_model("lenet", 10, (30, 30, 1))


def test_models_that_do_not_fit():
    assert networks.make_model("vit_tiny", 10, (8, 8, 1), dropout=0.2).dropout == 0.2
    with pytest.raises(ValueError, match=r"lenet has none, got 0\.2"):
        networks.make_model("lenet", 10, (32, 32, 3), dropout=0.2)


def test_freed_memory_is_used_again():
    """With glibc, a new large array reuses freed pages and causes few page faults."""
    script = (
        "import resource, numpy as np; from experiments.models import cpu\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "def fill(): return np.ones(10_000_000)\n"  # 80 MB
        "known = cpu.keep_freed_memory(); fill(); before = faults(); fill(); fill()\n"
        "print(known, faults() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    known, faults = done.stdout.split()
    assert known == "False" or int(faults) < 1000  # two arrays have 2 x 19,531 pages
