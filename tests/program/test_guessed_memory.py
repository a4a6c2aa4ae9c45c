"""The memory that is guessed from training losses, against a loop over the examples in NumPy."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.runs import identity
from experiments.training import build
from experiments.training import step as one_step
from experiments.training.guessed_memory import guess_memory
from superloss_jax import memory, superloss
from tests.program.test_held_out import config_of

N, B = 40, 10
TRAINING = {"loss.remembered_superloss.memory": "training", "data.validation": 0}
method = memory.remembered_superloss(num_examples=N)
guessed = guess_memory(method, N)
update, bare = jax.jit(guessed.update), jax.jit(method.update)


class Reference:
    """The definition, one example after another, in float64."""

    def __init__(self):
        self.returned, self.suspects, self.below = 0, 0.0, 0.0
        self.least, self.g = 1.0, 0.0

    def update(self, losses, index, counted, evidence, visits, tau):
        again = [i for i in range(B) if counted[i] and visits[index[i]] > 0]
        suspects = [i for i in again if evidence[index[i]] > 0]
        self.returned += len(again)
        kept = 1 - len(again) / N
        self.suspects = kept * self.suspects + len(suspects)
        self.below = kept * self.below + sum(losses[i] < tau for i in suspects)
        if self.returned >= N and self.suspects >= 1:
            low = self.below / self.suspects
            self.least = min(self.least, low)
            risen = 8 * (low - self.least) / (1 - self.least)
            self.g = max(self.g, min(max(risen, 0), 1))


def batches(steps, falls=True):
    """Yields losses, indices and masks. The second half of the examples is learnt late."""
    rng = np.random.default_rng(0)
    for step in range(steps):
        index = rng.permutation(N)[:B]
        late = np.where(rng.random(B) < (step - 20) / 80 * falls, 0.1, 4.0)
        losses = np.where(index < N // 2, 4 / (2 + step), late) * rng.uniform(0.9, 1.1, B)
        if step == 7:
            losses[2] = np.nan
        yield losses.astype(np.float32), index, rng.random(B) < 0.8


def test_many_batches_are_the_definition():
    expected, state, seen = Reference(), guessed.init(), []
    for losses, index, where in batches(60):
        old = state.remembered
        plain, one = bare(losses, old, where=where, index=index)
        values, state = update(losses, state, where=where, index=index)
        np.testing.assert_allclose(values, plain, rtol=1e-5, atol=1e-6)
        tau = float(one.tau)
        expected.update(losses, index, where & np.isfinite(losses), old.evidence, old.visits, tau)
        np.testing.assert_allclose(state.remembered.memory, expected.g, atol=1e-5)
        same = one._replace(memory=state.remembered.memory)
        chex.assert_trees_all_close(state.remembered, same, rtol=1e-5)
        seen.append(expected.g)
    assert len({*seen}) > 3
    assert seen[20] == 0
    assert seen[-1] == 1


def test_without_fitted_suspects_it_is_superloss():
    plain = superloss()
    bare_superloss = jax.jit(plain.update)
    state, expected = guessed.init(), plain.init()
    for losses, index, where in batches(40, falls=False):
        values, state = update(losses, state, where=where, index=index)
        wanted, expected = bare_superloss(losses, expected, where=where)
        np.testing.assert_allclose(values, wanted, rtol=1e-6)
    assert state.suspects > 1
    assert state.remembered.memory == 0 == state.least


def test_nothing_is_guessed_before_every_example_came_twice():
    state, index = guessed.init(), jnp.arange(N)
    losses = np.where(np.arange(N) < 3, 5.0, 0.1).astype(np.float32)
    for epoch, fitted in enumerate((losses, losses, losses * 0)):
        assert state.returned == max(0, epoch - 1) * N
        _, state = update(fitted, state, index=index)
        assert state.least == (1 if epoch == 0 else 0)
    assert state.remembered.memory == 1
    masked = update(losses, state, index=index, where=np.zeros(N, bool))[1]
    chex.assert_trees_all_equal(masked, state)


def test_in_the_program_it_needs_no_held_out_set():
    run = build.build_run(config_of(**TRAINING))
    assert run.advance is None
    state, train = one_step.init_state(run, 0), run.problem.stored(run.dataset.train)
    order = run.problem.order(0, 1, len(train.index), 128)
    step = one_step.make_train_step(run)
    for _ in range(12):  # the first epoch has 11
        state, failed = step(state, train, order)
        assert not failed
    assert state.loss_state.returned == 128
    assert state.loss_state.remembered.visits.sum() == len(train.index) + 128


def test_runs_from_before_keep_their_identity():
    config = config_of()
    with config.unlocked():
        del config.loss.remembered_superloss.memory
    assert build.build_run(config).advance
    hashes = [identity.config_sha256(one.to_dict()) for one in (config, config_of())]
    assert hashes[0] == hashes[1] != identity.config_sha256(config_of(**TRAINING).to_dict())


def test_another_source_is_refused():
    said = r"config\.loss\.remembered_superloss\.memory: expected one of held_out, training, got"
    with pytest.raises(ValueError, match=said):
        build.build_run(config_of(**{"loss.remembered_superloss.memory": "train"}))
