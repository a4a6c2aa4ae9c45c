"""Every method at the edges of its inputs: integer dtypes, labels that are none, infinity, NaN."""

import functools

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
from flax import nnx

from superloss_jax import _inputs, confidence, lambertw, memory, pairs, per_class, robust, superloss
from tests.library.battery import (
    METHODS,
    PAIRS,
    X64,
    B,
    C,
    N,
    close,
    cross_entropy,
    every_method,
    inputs,
    made,
    started,
    update,
)
from tests.library.compiled import update as compiled

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
# What methods need beside losses; of data that is, those that have a label or an index.
BY_LABEL = ("superloss_per_class", "nce_rce", "epsilon_softmax", "bootstrap", "bootstrap_hard",
            "forward", "backward", "data_parameters", "self_filter")  # fmt: skip
BY_INDEX = ("trend", "data_parameters", "elr", "self_filter", "loss_memory")


@pytest.mark.parametrize("dtype", INTEGERS)
def test_rows_of_every_integer_dtype_are_int32(dtype):
    rows = np.array([0, 1, 127, 255 if dtype != "int8" else 5], dtype)
    for given in (rows, jnp.asarray(rows), rows.tolist()):
        found = _inputs.as_rows("index", given)
        assert (found.dtype, found.tolist()) == (jnp.int32, [int(row) for row in rows])
        found = jax.jit(functools.partial(_inputs.as_rows, "index"))(jnp.asarray(given))
        assert (found.dtype, found.tolist()) == (jnp.int32, [int(row) for row in rows])


@pytest.mark.parametrize(
    "row", [-1, -128, 2**31, 2**32 - 1, 2**32, 2**32 + 1, -(2**31), -(2**32) + 1, 2**63 - 1]
)
def test_rows_beyond_int32_are_no_row_and_not_another(row):
    for dtype in INTEGERS:
        if np.iinfo(dtype).min <= row <= np.iinfo(dtype).max:
            assert _inputs.as_rows("index", np.array([row, 3], dtype))[0] < 0
            if X64 or np.dtype(dtype).itemsize <= 4:
                assert jax.jit(lambda x: _inputs.as_rows("index", x))(np.array([row], dtype))[0] < 0


def test_rows_of_four_bits_lists_of_traced_ones_and_wrapped_arrays():
    for dtype in ("int4", "uint4"):
        rows = jnp.array([0, 5, 3]).astype(dtype)
        assert _inputs.as_rows("index", rows).tolist() == [0, 5, 3]
        assert _inputs.as_rows("index", np.asarray(rows)).tolist() == [0, 5, 3]
    assert jax.jit(lambda a: _inputs.as_rows("index", [a, 2]))(1).tolist() == [1, 2]
    wrapped = nnx.Variable(jnp.array([4, 7]))
    assert _inputs.as_rows("index", wrapped).tolist() == [4, 7]
    for wrong in (None, "3", print, {"a": 1}):
        with pytest.raises(TypeError, match="index: expected an array, got"):
            _inputs.as_rows("index", wrong)


@pytest.mark.parametrize("name", sorted({*BY_LABEL, *BY_INDEX}))
def test_a_narrow_dtype_gives_what_int32_gives(name):
    losses, extra = inputs(name)
    where = jnp.arange(B) % 4 != 1
    for dtype in (jnp.int8, jnp.uint8):
        narrow = {key: extra[key].astype(dtype) for key in ("labels", "index")}
        found = update(name)(losses, started(name), extra | narrow | {"where": where})
        expected = update(name)(losses, started(name), extra | {"where": where})
        close(found, expected, rtol=0, atol=0)


def test_as_many_classes_or_examples_as_the_dtype_has_values():
    labels, where = jnp.array([0, 255, 7], jnp.uint8), jnp.array([True, True, False])
    losses = jnp.array([1.0, 2.0, 9.0])
    _, state = compiled(superloss(threshold=per_class(256)), losses, labels=labels, where=where)
    assert (state.tau[0], state.tau[255], state.memory.sum()) == (1, 2, 2)
    values, state = compiled(memory.loss_memory(num_examples=256), losses, index=labels)
    assert values.tolist() == [1, 2, 9]
    assert (state.total[255], state.visits.sum()) == (2, 3)


@pytest.mark.parametrize("row", [-1, -100, C, N, 10**6])
@pytest.mark.parametrize(
    ("name", "of"),
    [(name, "labels") for name in BY_LABEL] + [(name, "index") for name in BY_INDEX],
)
def test_a_label_or_index_that_is_none_gives_nan_and_touches_nothing(name, of, row):
    if of == "index" and row == C:
        pytest.skip("an example")
    losses, extra = inputs(name)
    state, bad = started(name), extra | {of: extra[of].at[jnp.array([2, 5])].set(row)}
    values, new = update(name)(losses, state, bad)
    assert np.flatnonzero(np.isnan(values)).tolist() == [2, 5]
    # For all else, and for the state, it is as if they were masked.
    where = jnp.ones(B, bool).at[jnp.array([2, 5])].set(False)
    expected, masked = update(name)(losses, state, extra | {"where": where})
    close(np.where(where, values, 0), np.asarray(expected), rtol=0, atol=0)
    close(new, masked, rtol=0, atol=0)
    # Masked, they are nothing special.
    close(update(name)(losses, state, bad | {"where": where}), (expected, masked), rtol=0, atol=0)


def gradient(name, logits, extra, state):
    """Returns values, gradients by logits, and state, with cross entropy as the loss."""

    @functools.partial(jax.grad, has_aux=True)
    def total(logits):
        losses = cross_entropy(logits, extra["labels"])
        found = made(name).update(losses, state, **extra | {"logits": logits})
        return found[0].sum(), found

    grads, (values, new) = jax.jit(total)(logits)
    return values, grads, new


@every_method
def test_a_class_of_logit_minus_infinity_is_one_of_a_very_low_logit(name):
    _, extra = inputs(name)
    other = jax.nn.one_hot((extra["labels"] + 1) % C, C, dtype=bool)
    found = gradient(name, jnp.where(other, -jnp.inf, extra["logits"]), extra, started(name))
    assert not any(np.isnan(leaf).any() for leaf in jax.tree.leaves(found))
    if name in ("backward", "label_smoothing"):  # a term of each class: no bound
        assert (found[0] == (-jnp.inf if name == "backward" else jnp.inf)).all()
    elif name != "logit_clip":  # where such a class has no part in the norm
        # NCE divides by the logits' size, and vanishes with it.
        low = -1e9 if name in ("nce_rce", "nce_mae", "anl", "jal") else -1e4
        close(found, gradient(name, jnp.where(other, low, extra["logits"]), extra, started(name)))


def test_soft_bootstrapping_with_a_masked_class():
    logits, labels = jnp.array([[2, 0, -jnp.inf], [0, 1, -jnp.inf]]), jnp.array([0, 1])
    values, _ = robust.bootstrap().update(jnp.ones(2), (), logits=logits, labels=labels)
    p = np.exp([[2, 0], [0, 1]]) / np.exp([[2, 0], [0, 1]]).sum(axis=1, keepdims=True)
    entropy = -(p * np.log(p)).sum(axis=1)
    np.testing.assert_allclose(
        values, -0.95 * np.log(p[[0, 1], [0, 1]]) + 0.05 * entropy, rtol=1e-6
    )
    np.testing.assert_allclose(values, [0.1389, 0.3267], atol=1e-4)


@every_method
def test_an_infinite_loss_is_no_nan(name):
    _, extra = inputs(name)
    impossible = jax.nn.one_hot(jnp.where(jnp.arange(B) == 2, extra["labels"], -1), C, dtype=bool)
    logits = jnp.where(impossible, -jnp.inf, extra["logits"])
    found = gradient(name, logits, extra, made(name).init())
    for leaf in jax.tree.leaves(found):
        assert not np.isnan(leaf).any()


@pytest.mark.parametrize(
    ("transform", "value", "slope"),
    [
        (robust.symmetric_cross_entropy(alpha=0.0), 4, 0),
        (robust.symmetric_cross_entropy(alpha=0.1), np.inf, 0.1),
        (robust.focal(gamma=2.0), np.inf, 1),
        (robust.focal(gamma=0.5), np.inf, 1),
        (robust.focal(gamma=0.0), np.inf, 1),
        (robust.generalized_cross_entropy(q=0.5), 2, 0),
        (robust.generalized_cross_entropy(q=0.0), np.inf, 1),
    ],
)
def test_limits_at_an_infinite_loss(transform, value, slope):
    found, slopes = jax.value_and_grad(lambda x: transform.update(x[None], ())[0][0])(jnp.inf)
    assert (found, slopes) == (pytest.approx(value), pytest.approx(slope))
    # They are the limits of large losses.
    slopes = jax.grad(lambda x: transform.update(x[None], ())[0][0])(1e6)
    assert slopes == pytest.approx(slope, abs=1e-6)


def test_an_impossible_label_has_the_slope_of_cross_entropy():
    logits, labels = jnp.array([[2.0, 0.0, -jnp.inf]]), jnp.array([2])
    for matrix in (
        np.eye(3),
        [[1, 0, 0], [0, 1, 0], [0, 0.5, 0.5]],
        [[1, 0, 0], [0, 0.5, 0.5], [0, 0, 1]],
    ):
        transform = robust.forward_correction(matrix)
        value, slope = jax.value_and_grad(
            lambda z, t=transform: t.update(jnp.ones(1), (), logits=z, labels=labels)[0].sum()
        )(logits)
        if matrix[1][2] == 0:
            assert value == jnp.inf
            expected = jax.grad(lambda z: cross_entropy(z, labels).sum())(logits)
            np.testing.assert_allclose(slope, expected, rtol=1e-6)
        assert np.isfinite(slope).all()


@pytest.mark.parametrize(("keep", "lam"), [(1.0, 0.0), (0.5, 0.5)])
def test_a_class_that_one_network_masks_is_no_nan_where_it_has_no_weight(keep, lam):
    logits = jnp.array([[[2.0, 0, 0], [0, 1, -jnp.inf]], [[2, 0, 0.3], [0, 1, 0.3]]])
    losses, transform = jnp.array([[0.1, 0.2], [0.3, 9.0]]), pairs.jocor(keep=keep, lam=lam)
    slopes = jax.grad(lambda z: transform.update(losses, transform.init(), logits=z)[0].sum())(
        logits
    )
    assert np.isfinite(slopes).all()
    assert (slopes[:, 1] == 0).all()


def test_no_nan_of_a_schedule_or_a_loss_is_hidden():
    transform = pairs.co_teaching(keep=lambda step: jnp.nan)
    values, _ = transform.update(jnp.ones((2, 4)), transform.init())
    assert np.isnan(values).all()
    transform = memory.self_filter(num_examples=2, num_classes=2)
    given = {"logits": jnp.array([[2.0, 0], [2, 0]]), "labels": jnp.array([0, 1])}
    losses = jnp.array([1.0, jnp.nan])
    values, _ = compiled(transform, losses, index=jnp.arange(2), **given)
    assert np.isnan(values).tolist() == [False, True]


# Those drop the largest losses of a batch, and NaN like infinity.
@pytest.mark.parametrize("name", [name for name in METHODS if name not in (*PAIRS, "trimmed")])
def test_nan_stays_nan_in_its_place(name):
    losses, extra = inputs(name)
    given = extra | {"logits": extra["logits"].at[2, 0].set(jnp.nan)}
    values, _ = update(name)(losses.at[2].set(jnp.nan), made(name).init(), given)
    assert np.flatnonzero(np.isnan(values)).tolist() == [2]


def test_labels_and_classes_of_confidence_cross_entropy():
    logits, sigma = jnp.array([[2.0, 0.0, -jnp.inf]]), jnp.array([0.0, 0.5, 1.0, 4.0])
    values, slopes = jax.vmap(jax.value_and_grad(
        lambda s: confidence.confidence_cross_entropy(logits[0], 1, s)))(sigma)  # fmt: skip
    np.testing.assert_allclose(values, np.log1p(np.exp(2 * sigma)), rtol=1e-6)
    np.testing.assert_allclose(slopes, 2 / (1 + np.exp(-2 * sigma)), rtol=1e-6)
    for dtype in INTEGERS:
        labels = np.array([0, 1], dtype)
        found = confidence.confidence_cross_entropy(logits[:, :2], labels)
        expected = optax.softmax_cross_entropy_with_integer_labels(
            jnp.array([[2.0, 0.0], [2.0, 0.0]]), jnp.array([0, 1]))  # fmt: skip
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    labels = jnp.array([-1, 3, -100, 1])
    found = confidence.confidence_cross_entropy(jnp.zeros((4, 3)), labels)
    assert np.isnan(found).tolist() == [True, True, True, False]


@pytest.mark.parametrize("dtype", [jnp.float16, ml_dtypes.bfloat16, jnp.float32])
def test_lambertw_keeps_the_sign_of_zero(dtype):
    assert np.signbit(np.float32(lambertw(jnp.array(-0.0, dtype))))
    assert not np.signbit(np.float32(lambertw(jnp.array(0.0, dtype))))


def test_weights_of_labels_that_are_no_class_are_nan():
    state = memory.data_parameters(num_classes=3).init()
    for labels in (np.array([0, 2, 3, -1]), jnp.array([0, 2, 3, -1], jnp.int8)):
        weights = memory.instance_weights(state, labels)
        assert np.isnan(weights).tolist() == [False, False, True, True]
