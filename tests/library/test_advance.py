"""What moves the memory of remembered SuperLoss, and what its states refuse."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from superloss_jax import chain, memory, robust, superloss
from superloss_jax.memory import advance, check_memory, remembered_superloss
from tests.library.battery import X64
from tests.library.compiled import update
from tests.library.test_remembered import B, N, compiled_advance, trained


def test_advance_rests_where_both_shares_agree_and_stays_within_0_and_1():
    state = trained(remembered_superloss(num_examples=N), 0.5, steps=1)
    state = state._replace(seen=jnp.int32(100), below=jnp.int32(60))
    low, high = float(state.tau) - 1, float(state.tau) + 1

    def after(share, state=state):
        return compiled_advance(state, jnp.where(jnp.arange(10) < 10 * share, low, high))

    assert after(0.6).memory == pytest.approx(0.5, abs=1e-6)
    assert after(0.5).memory == pytest.approx(0.5 + 0.1 / 0.5)
    assert after(0.0).memory == 1
    assert after(0.8).memory == 0
    assert after(1.0).memory == 0
    assert after(1.0, state._replace(below=state.seen)).memory == 0.5  # nothing to memorise
    second = after(0.0, after(0.6)._replace(seen=state.seen, below=state.below))
    assert second.memory == pytest.approx(0.5 + (0.6 - 0.3) / 0.7, abs=1e-6)  # mean of both ends
    assert (second.seen, second.below, second.held_out) == (0, 0, 0)


def test_advance_without_anything_to_count_changes_nothing():
    transform = remembered_superloss(num_examples=N)
    state, losses = trained(transform, 0.5), jnp.array([0.1, 9.0])
    masked = compiled_advance(state, losses, jnp.zeros(2, bool))
    chex.assert_trees_all_equal(masked, state)
    chex.assert_trees_all_equal(compiled_advance(state, losses * jnp.nan), state)
    once = compiled_advance(state, losses)
    chex.assert_trees_all_equal(compiled_advance(once, losses), once)  # no update in between
    first = transform.init()
    chex.assert_trees_all_equal(compiled_advance(first, losses), first)
    spoilt = jnp.array([0.1, 9.0, jnp.nan, -5.0])
    where = jnp.array([True, True, True, False])
    chex.assert_trees_all_equal(compiled_advance(state, spoilt, where), once)
    assert compiled_advance(state, jnp.array([0.1, jnp.inf])).held_out == once.held_out


def test_advance_finds_the_state_in_a_chain_and_leaves_others_alone():
    both = chain(robust.generalized_cross_entropy(), remembered_superloss(num_examples=N))
    losses, index = jnp.linspace(0.1, 4, B), jnp.arange(B)
    _, state = update(both, losses, index=index, labels=index, logits=jnp.zeros((B, 3)))
    held_out = jnp.array([5.0])
    found = compiled_advance(state, held_out)
    assert found[0] == state[0] == ()
    chex.assert_trees_all_equal(found[1], compiled_advance(state[1], held_out))
    assert found[1].memory > 0
    for other in (superloss(), memory.self_filter(num_examples=4, num_classes=2), chain()):
        chex.assert_trees_all_equal(advance(other.init(), held_out), other.init())


def test_advance_of_several_seeds_is_that_of_each():
    transform = remembered_superloss(num_examples=N)
    states = [trained(transform, g, steps) for g, steps in ((0.1, 3), (0.6, 9))]
    held_out = jnp.array([[0.1, 0.2, 5.0], [4.0, 5.0, 6.0]])
    where = jnp.array([[True, True, True], [True, False, True]])
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    found = jax.jit(jax.vmap(advance))(stacked, held_out, where)
    for i, state in enumerate(states):
        own = jax.tree.map(lambda leaf, i=i: leaf[i], found)
        chex.assert_trees_all_close(own, compiled_advance(state, held_out[i], where[i]), atol=1e-7)


def test_advance_on_eight_devices_is_that_on_one():
    state = trained(remembered_superloss(num_examples=N), 0.3)
    held_out = np.linspace(0, 4, 32, dtype=np.float32)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.device_put(held_out, NamedSharding(mesh, PartitionSpec("data")))
    whole = jax.device_put(state, NamedSharding(mesh, PartitionSpec()))
    chex.assert_trees_all_equal(
        jax.device_get(compiled_advance(whole, spread)), jax.device_get(advance(state, held_out))
    )


# --- Bad input. -----------------------------------------------------------------------------------


def test_errors_of_building():
    for name, value, message in (
        ("num_examples", 0, "an integer >= 1, got 0"),
        ("lam", 0.0, "a number > 0"),
        ("share", 1.5, r"a number in \[0, 1\], got 1.5"),
        ("decay", 1.0, r"a number in \[0, 1\), got 1.0"),
    ):
        with pytest.raises(ValueError, match=f"{name}: expected {message}"):
            remembered_superloss(**{"num_examples": 4, name: value})


def test_errors_of_update_and_advance():
    transform = remembered_superloss(num_examples=4)
    state, losses = transform.init(), jnp.ones(2)
    with pytest.raises(ValueError, match=r"remembered_superloss needs index: update\("):
        transform.update(losses, state)
    other = remembered_superloss(num_examples=5).init()
    with pytest.raises(ValueError, match=r"state: expected .evidence of shape \(4,\)") as error:
        transform.update(losses, other, index=jnp.arange(2))
    assert "\n" not in str(error.value)
    other = state._replace(seen=jnp.ones(state.seen.shape, bool))
    with pytest.raises(ValueError, match=r"state: expected .seen of .* int32, .* got .* bool"):
        transform.update(losses, other, index=jnp.arange(2))
    with pytest.raises(ValueError, match="per-example losses, not their mean"):
        advance(state, jnp.float32(1))
    with pytest.raises(ValueError, match="where: expected a shape that broadcasts"):
        advance(state, losses, jnp.ones(3, bool))
    with pytest.raises(TypeError, match=r"held_out_losses: .* got RememberedState$"):
        advance(losses, state)


@pytest.mark.parametrize("g", [-0.01, 1.5, np.nan, np.inf])
def test_a_memory_outside_0_and_1_is_refused_and_under_jit_gives_nan(g):
    transform = remembered_superloss(num_examples=N)
    state = trained(transform, g)
    losses, index = jnp.ones(2), jnp.arange(2)
    message = r"^state: memory of remembered_superloss: expected a number in \[0, 1\], got .*$"
    for call in (
        lambda: transform.update(losses, state, index=index),
        lambda: advance(state, losses),
        lambda: check_memory({"a checkpoint": ((), state)}),
        lambda: check_memory(jax.tree.map(lambda *leaves: jnp.stack(leaves), state, state)),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    values, _ = update(transform, losses, state, index=index)
    assert np.isnan(values).all()
    assert np.isnan(compiled_advance(state, losses).memory)
    check_memory((superloss().init(), transform.init()))


@pytest.mark.skipif(X64, reason="x64 has no part in it")
def test_the_state_is_eight_bytes_an_example():
    state = jax.eval_shape(remembered_superloss(num_examples=1000).init)
    sizes = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    assert 8 * 1000 < sizes < 8 * 1000 + 40
