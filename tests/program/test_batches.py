"""The input pipeline: order, crops, flips, Cutout, mixup, masked batches and streaming."""

import functools
import hashlib
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from configs import digits
from experiments import data
from experiments.models import networks
from experiments.models.batch_norm import BatchNorm
from experiments.runs import files
from experiments.tasks import images as batches
from experiments.training import build, devices
from experiments.training import step as one_step
from experiments.training.order import epoch_order
from experiments.training.stream import fits, stream
from tests.program.running import train_one

FIRST_500 = np.arange(500, dtype=np.int32)


def test_every_epoch_visits_every_example_once():
    first, second = (np.asarray(epoch_order(3, epoch, 1000, 64)) for epoch in (1, 2))
    assert first.shape == (16, 64)
    for order in (first, second):
        np.testing.assert_array_equal(np.sort(order[order >= 0]), np.arange(1000))
        assert (order[:-1] >= 0).all()
    assert (first != second).mean() > 0.9


def plain(images, mean=(0.0,), std=(1.0,)):
    """Makes a data set of these images."""
    labels = np.zeros(len(images), np.int32)
    examples = data.Examples(images, labels, labels, np.arange(len(images), dtype=np.int32))
    empty = examples.rows(slice(0))
    return data.Dataset("plain", ("a", "b"), examples, empty, empty, mean, std)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(1, 256, (500, 9, 7, 3), np.uint8)


@functools.partial(jax.jit, static_argnames=("augment", "mean", "std"))
def drawn(images, positions, augment, step, mean=(0.0,), std=(1.0,)):
    return batches.draw(images, positions, plain(np.zeros(0), mean, std), augment, 5, step)


def test_each_draw_is_a_window_of_the_padded_image(images):
    augment = batches.Augment(pad=2, flip=True, cutout=0)
    train = batches.padded(plain(images).train, augment)
    result = np.asarray(drawn(train.inputs, FIRST_500, augment, 0))
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    seen = {}
    for i, image in enumerate(result):
        windows = {
            (y, x, flip): padded[i, y : y + 9, x : x + 7][:, :: -1 if flip else 1]
            for y in range(5) for x in range(5) for flip in (False, True)
        }  # fmt: skip
        matches = [key for key, window in windows.items() if (window == image).all()]
        assert len(matches) == 1
        seen[matches[0]] = seen.get(matches[0], 0) + 1
    assert len(seen) == 50  # each offset occurs, 10 times on average
    assert max(seen.values()) < 30
    assert 190 < sum(count for key, count in seen.items() if key[2]) < 310
    # Another step gives other draws; the same step repeats them.
    assert (np.asarray(drawn(train.inputs, FIRST_500, augment, 1)) != result).mean() > 0.5
    np.testing.assert_array_equal(drawn(train.inputs, FIRST_500, augment, 0), result)


def test_draws_are_the_same_everywhere():
    images = np.arange(64 * 8 * 8, dtype=np.uint32).view(np.uint8)[::4].reshape(64, 8, 8, 1)
    augment = batches.Augment(pad=4, flip=True, cutout=4)
    train = batches.padded(plain(images).train, augment)
    result = np.asarray(drawn(train.inputs, FIRST_500[:64], augment, 7), np.uint8)
    order = np.asarray(epoch_order(3, 1, 1000, 64), "<i4")
    hashes = [hashlib.sha256(a.tobytes()).hexdigest()[:16] for a in (order, result)]
    assert hashes == ["a100fb36ea6dd8c1", "8f76cb81f3c87a1a"]


@pytest.mark.parametrize("size", [4, 5])
def test_cutout_sets_a_square_to_the_mean(size):
    images = np.full((400, 9, 7, 1), 200, np.uint8)
    augment = batches.Augment(pad=0, flip=False, cutout=size)
    result = np.asarray(drawn(images, FIRST_500[:400], augment, 0, mean=(100.0,), std=(50.0,)))
    assert set(np.unique(result)) == {0.0, 2.0}
    areas = []
    for hole in result[..., 0] == 0:
        rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
        assert hole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        areas.append(hole.sum())
    # The square may be centred on any pixel, so that parts of it lie outside.
    assert max(areas) == size**2
    assert min(areas) <= (size // 2 + 1) ** 2
    # The first pixel is covered by squares whose centre lies at most size // 2 away.
    expected = (size // 2 + 1) ** 2 / (9 * 7)
    corner = (result[:, 0, 0, 0] == 0).mean()
    assert abs(corner - expected) < 4 * np.sqrt(expected / 400)


class WithBatchNorm(nn.Module):
    num_classes: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, train: bool, mask=None):
        x = nn.Dense(16)(x.reshape(x.shape[0], -1))
        return nn.Dense(self.num_classes)(nn.relu(BatchNorm(dtype=self.dtype)(x, train, mask)))


def test_a_padded_batch_is_the_unpadded_one(monkeypatch):
    """Gradients, metrics, tau and BatchNorm's statistics ignore padding."""
    monkeypatch.setitem(networks.MODELS, "norm", WithBatchNorm)
    config = digits.get_config()
    config.devices = 1
    config.model.name = "norm"
    config.optimizer.name = "sgd"
    run = build.build_run(config)
    train = run.problem.stored(run.dataset.train)
    rows = np.arange(40, dtype=np.int32)
    after = []
    for order in (rows[None], np.pad(rows, (0, 24), constant_values=-1)[None]):
        step = one_step.make_train_step(run)
        after.append(step(one_step.init_state(run, 0), train, order)[0])
    unpadded, padded = map(jax.tree.leaves, after)
    for expected, found in zip(unpadded, padded, strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)
    assert after[1].loss_state.count == 40
    assert jax.tree.leaves(after[1].batch_stats)


def test_a_streamed_epoch_has_the_resident_one_s_batches(images):
    augment = batches.Augment(pad=1, flip=True, cutout=0)
    train = batches.padded(plain(images).train, augment)
    order = np.asarray(epoch_order(0, 1, 500, 64))
    steps = list(stream(train, order, devices.layout(1)))
    assert len(steps) == len(order) == 8
    for step, (rows, (batch, positions)) in enumerate(zip(order, steps, strict=True)):
        np.testing.assert_array_equal(positions[0] >= 0, rows >= 0)
        count = (rows >= 0).sum()
        resident = drawn(train.inputs, rows, augment, step)[:count]
        streamed = drawn(batch.inputs, positions[0], augment, step)[:count]
        np.testing.assert_array_equal(streamed, resident)
        np.testing.assert_array_equal(batch.index[:count], rows[:count])
        assert batch.inputs.nbytes < train.inputs.nbytes / 7


def test_a_run_over_the_budget_is_the_resident_run(tmp_path):
    rows = []
    for name, budget in (("resident", 0.0), ("streamed", 0.05)):
        config = digits.get_config()
        config.devices, config.epochs, config.checkpoint.every_minutes = 1, 2, 0
        config.augment.pad, config.data.device_budget_mb = 1, budget
        run = build.build_run(config)
        assert fits(run.problem.stored(run.dataset.train), budget) == (budget == 0)
        train_one(config, run, files.make_workdir(tmp_path / name))
        rows.append(files.read_rows(tmp_path / name / files.METRICS))
    for pair in zip(*rows, strict=True):
        resident, streamed = ({k: v for k, v in row.items() if v is not None} for row in pair)
        assert resident == pytest.approx(streamed, rel=1e-5)


def test_mixup_is_a_mixture_of_two_images_and_of_their_losses():
    augment = batches.Augment(pad=0, flip=False, cutout=0, mixup=1.0)
    positions = jnp.array([4, 2, 7, 0, -1, -1], jnp.int32)
    parts = []
    for step in range(200):
        mix = batches.mixture(positions, augment, 0, step)
        assert (mix.part == mix.part[0]).all()
        parts.append(float(mix.part[0]))
        assert mix.partner[:4].tolist() == [1, 2, 3, 0]  # never padding
    assert stats.kstest(parts, "uniform").pvalue > 1e-3  # Beta(1, 1)
    images = jnp.asarray(np.random.default_rng(0).normal(size=(6, 2, 2, 1)), jnp.float32)
    part = np.asarray(mix.part)[0]
    expected = part * images[0] + (1 - part) * images[1]
    np.testing.assert_allclose(batches.mixed(images, mix)[0], expected, rtol=1e-5)


def test_a_step_on_mixtures_takes_the_mixture_of_losses():
    config = digits.get_config()
    config.devices, config.augment.mixup, config.loss.method = 1, 0.4, "cross_entropy"
    config.optimizer.name, config.optimizer.learning_rate = "sgd", 1.0
    run = build.build_run(config)
    state = one_step.init_state(run, 0)
    params = jax.tree.map(np.asarray, state.params)
    train = run.problem.stored(run.dataset.train)
    order = epoch_order(0, 1, len(train.index), config.batch_size)
    rows = np.asarray(order[0])
    augment = batches.Augment(pad=0, flip=False, cutout=0, mixup=0.4)
    part = batches.mixture(order[0], augment, 0, 0).part[0]
    partner = np.roll(rows, -1)
    images = run.dataset.train.inputs / np.float32(16)

    def objective(params):
        mixed = part * images[rows] + (1 - part) * images[partner]
        logits = run.model.apply({"params": params}, mixed, train=True)
        losses = [optax.softmax_cross_entropy_with_integer_labels(logits, train.targets[i])
                  for i in (rows, partner)]  # fmt: skip
        return jnp.mean(part * losses[0] + (1 - part) * losses[1])

    expected = jax.tree.map(lambda p, g: p - g, params, jax.grad(objective)(params))
    after, _ = one_step.make_train_step(run)(state, train, order)
    chex.assert_trees_all_close(after.params, expected, rtol=1e-4, atol=1e-6)
    config.loss.method = "early_learning"
    with pytest.raises(ValueError, match=r"mixup: a mixture has a loss alone; early_learning"):
        build.build_run(config)
