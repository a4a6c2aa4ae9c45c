"""What `update` and `init` refuse, in one line that says what to do instead."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from superloss_jax import (
    LossTransform,
    SuperLossState,
    Threshold,
    chain,
    constant,
    curricula,
    ema,
    memory,
    per_class,
    robust,
    running_mean,
    superloss,
    windowed,
)
from tests.library.battery import METHODS, close, every_method, inputs, made, once, update
from tests.library.compiled import update as compiled

LOSSES = jnp.array([0.5, 2.0, 1.0])
NOT_THEIR_MEAN = "per-example losses, not their mean, got a scalar; .* has shape .1,.: losses"


def one_line(error):
    # JAX appends advice on tracebacks after a rule.
    return "\n" not in str(error.value).split("\n----", maxsplit=1)[0]


@every_method
def test_a_mean_is_refused_under_jit_too(name):
    losses, extra = inputs(name)
    for call in (made(name).update, jax.jit(made(name).update)):
        with pytest.raises(ValueError, match=NOT_THEIR_MEAN) as error:
            call(losses.mean(), made(name).init(), **extra)
        assert one_line(error)


@pytest.mark.parametrize("scalar", [1.0, np.float32(1), np.array(1.0)])
def test_every_kind_of_scalar_is_refused_by_transforms_and_thresholds(scalar):
    for pair in (superloss(), ema(), per_class(2)):
        with pytest.raises(ValueError, match=NOT_THEIR_MEAN):
            pair.update(scalar, pair.init())


def test_one_example_has_shape_1_and_vmap_over_examples_needs_it():
    transform = superloss(threshold=constant(1.0))
    state = transform.init()
    with pytest.raises(ValueError, match=NOT_THEIR_MEAN):
        jax.vmap(lambda loss: transform.update(loss, state)[0])(LOSSES)
    found = jax.vmap(lambda loss: transform.update(loss[None], state)[0][0])(LOSSES)
    np.testing.assert_allclose(found, transform.update(LOSSES, state)[0], rtol=1e-6)


@every_method
def test_an_unknown_input_is_refused(name):
    losses, extra = inputs(name)
    with pytest.raises(TypeError, match="got mask; did you mean where"):
        made(name).update(losses, made(name).init(), mask=losses > 0, **extra)


@pytest.mark.parametrize(
    ("given", "meant"),
    [("mask", "where"), ("wheres", "where"), ("label", "labels"), ("targets", "labels"),
     ("logit", "logits"), ("indices", "index"), ("idx", "index"), ("params", "")],
)  # fmt: skip
def test_the_input_that_was_meant_is_named(given, meant):
    threshold, both = ema(), chain(robust.focal(), superloss())
    for pair in (superloss(), threshold, both):
        with pytest.raises(TypeError, match="expected inputs named where, logits, labels") as error:
            pair.update(LOSSES, pair.init(), **{given: LOSSES})
        hint = f"; did you mean {meant}?" if meant else f"got {given}"
        assert str(error.value).endswith(hint)


@every_method
def test_inputs_that_a_method_does_not_need_are_ignored(name):
    losses, extra = inputs(name)
    every = {"where": jnp.ones(losses.shape, bool), **extra}
    jax.eval_shape(made(name).update, losses, made(name).init(), **every)


TWO = superloss(threshold=per_class(2))
STATES = {
    "none": (superloss(), None, "expected SuperLossState from init.., got NoneType"),
    "not called": (superloss(), superloss().init, "got a function: call it"),
    "losses": (superloss(), LOSSES, "got an array of shape .3,."),
    "a tuple": (superloss(), (), "expected SuperLossState from init.., got tuple"),
    "a dict": (superloss(), superloss().init()._asdict(), "got dict"),
    "of a window": (superloss(), superloss(threshold=windowed(3)).init(), "of another transform"),
    "other classes": (TWO, superloss(threshold=per_class(3)).init(), "tau of shape .2,. .*.3,."),
    "a threshold": (ema(), per_class(2).init(), "SuperLossState of another transform"),
    "a method": (robust.focal(), superloss().init(), "expected .. from init.., got SuperLoss"),
    "step": (superloss(), curricula.self_paced(threshold=1.0).init(), "got StepState"),
    "a number": (curricula.self_paced(threshold=1.0), 0, "expected StepState from init.., got int"),
    "integers": (superloss(), superloss().init()._replace(tau=jnp.int32(0)), "tau .* got .* int32"),
    "one of two": (chain(robust.focal(), superloss()), superloss().init(), "tuple of 2 states"),
}


@pytest.mark.parametrize("case", STATES)
def test_a_wrong_state_is_named(case):
    pair, state, message = STATES[case]
    with pytest.raises((TypeError, ValueError), match=f"state: .*{message}") as error:
        pair.update(LOSSES, state, labels=jnp.array([0, 1, 0]))
    assert one_line(error)


def test_swapped_arguments_are_named():
    transform = superloss()
    expected = "losses: expected an array, got SuperLossState; the order is update.losses, state."
    with pytest.raises(TypeError, match=expected):
        transform.update(transform.init(), LOSSES)
    with pytest.raises(TypeError, match=r"got tuple; the order is update.losses, state."):
        robust.focal().update((), LOSSES)


@pytest.mark.parametrize("losses", [None, {"a": LOSSES}, "3", print, [[1.0], [1.0, 2.0]]])
def test_losses_that_are_no_array_are_named(losses):
    with pytest.raises(TypeError, match="losses: expected an array, got"):
        superloss().update(losses, superloss().init())


@pytest.mark.parametrize("pair", [superloss(), ema(), chain(superloss())])
def test_init_takes_nothing_and_says_why(pair):
    with pytest.raises(TypeError, match="a loss transform is no optimizer: call update") as error:
        pair.init({"w": jnp.ones(3)})
    assert one_line(error)


def test_optax_wrappers_say_what_to_do_instead():
    with pytest.raises(TypeError, match=r"In place of optax.chain use superloss_jax.chain"):
        optax.chain(superloss(), optax.sgd(0.1)).init({"w": jnp.ones(3)})
    with pytest.raises(TypeError, match=r"In place of optax.inject_hyperparams pass a schedule"):
        optax.inject_hyperparams(superloss)(lam=0.5).init({"w": jnp.ones(3)})
    with pytest.raises(ValueError, match="chain: expected LossTransforms, got GradientTransf"):
        chain(superloss(), optax.sgd(0.1))


@every_method
def test_a_state_may_hold_numpy_arrays_as_after_reading_a_file(name):
    losses, extra = inputs(name)
    arrays = jax.tree.map(np.asarray, (losses, made(name).init(), extra))
    found = made(name).update(*arrays[:2], **arrays[2])
    close(found, update(name)(losses, made(name).init(), extra))


SCHEDULED = {
    "superloss": lambda lam: superloss(lam=lam, threshold=running_mean()),
    "per_class": lambda lam: superloss(lam=lam, threshold=per_class(2)),
    "trend": lambda lam: memory.trend_superloss(num_examples=3, lam=lam),
}


@pytest.mark.parametrize("name", SCHEDULED)
def test_lam_may_be_a_schedule_of_the_step(name):
    schedule = optax.linear_schedule(2.0, 0.5, 2)
    given = {"labels": jnp.array([0, 1, 0]), "index": jnp.arange(3)}
    scheduled = SCHEDULED[name](schedule)
    state, fixed = scheduled.init(), SCHEDULED[name](1.0).init()
    for step in range(4):
        losses = LOSSES + step
        values, state = compiled(scheduled, losses, state, **given)
        numbers = SCHEDULED[name](float(schedule(step)))
        expected, fixed = compiled(numbers, losses, fixed, **given)
        np.testing.assert_array_equal(values, expected)
    own = state if name != "trend" else state.superloss
    assert own.step == 4
    chex.assert_trees_all_equal(
        own._replace(step=()), fixed if name != "trend" else fixed.superloss
    )


@pytest.mark.parametrize("returned", [None, jnp.ones(3)])
def test_a_schedule_returns_a_scalar(returned):
    for transform in (superloss(lam=lambda step: returned),
                      curricula.self_paced(threshold=lambda step: returned)):  # fmt: skip
        with pytest.raises(ValueError, match="expected a schedule that returns a scalar, got"):
            transform.update(LOSSES, transform.init())


def test_one_index_for_several_losses_is_refused():
    transform = memory.loss_memory(num_examples=4)
    with pytest.raises(ValueError, match=r"index: expected integers of shape .3,., got shape .."):
        transform.update(LOSSES, transform.init(), index=jnp.int32(3))


def test_a_chain_of_none_checks_what_it_is_given():
    with pytest.raises(ValueError, match=NOT_THEIR_MEAN):
        chain().update(jnp.float32(1), ())


def test_a_users_threshold_says_what_it_needs():
    def update(losses, state, *, where=None, axis_name=None, labels=None, **others):
        if labels is None:
            return state
        return state._replace(tau=state.tau.at[labels].max(jnp.where(where, losses, 0)))

    first = per_class(2).init()
    start = SuperLossState(tau=first.tau, count=first.count)
    transform = superloss(threshold=Threshold(lambda: start, update))
    with pytest.raises(ValueError, match=r"a tau per class needs Threshold\(..., needs="):
        transform.update(LOSSES, transform.init(), labels=jnp.array([0, 1, 1]))
    transform = superloss(threshold=Threshold(lambda: start, update, needs={"labels": 2}))
    values, state = transform.update(LOSSES, transform.init(), labels=jnp.array([0, 1, 5]))
    assert state.tau.tolist() == [0.5, 2]
    np.testing.assert_array_equal(values, [0, 0, np.nan])


@once
@every_method
def test_strict_promotion_and_debugging_of_nan_are_supported(name):
    losses, extra = inputs(name)
    where = jnp.arange(losses.shape[-1]) != 3

    def total(losses, logits):
        values, new = transform.update(losses, state, where=where, **extra | {"logits": logits})
        return values.sum(), new

    with jax.numpy_dtype_promotion("strict"), jax.debug_nans(True):
        transform: LossTransform = METHODS[name][0]()
        state = transform.init()
        jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True))(losses, extra["logits"])
