"""Triplets with easy anchors: the loss against loops, its weight, and the seam to the task."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import digits
from experiments.tasks import easy_anchors
from experiments.tasks.base import At
from experiments.training import build

CLASSES, SIZE = 4, 24
COUNTS = np.array([50, 9, 30, 11])


def batch():
    generator = np.random.default_rng(3)
    labels = generator.integers(0, CLASSES, SIZE)
    logits = generator.normal(size=(SIZE, CLASSES)) + 2 * np.eye(CLASSES)[labels]
    where = np.arange(SIZE) < SIZE - 3
    return logits, generator.normal(size=(SIZE, 5)), labels, where


def by_loops(logits, features, labels, where, rare, number, margin):
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    terms = []
    for one in np.flatnonzero(rare):
        members = [i for i in range(SIZE) if labels[i] == one and where[i]]
        others = [i for i in range(SIZE) if labels[i] != one and where[i]]
        by_p = sorted(members, key=lambda i: -p[i, one])
        for easy in by_p[:number]:
            if p[easy].argmax() != one:
                continue
            hard = [i for i in reversed(by_p) if i != easy][:number]
            near = sorted(others, key=lambda i: -p[i, one])[:number]
            for i, j in itertools.product(hard, near):
                far, close = (np.linalg.norm(unit[easy] - unit[k]) for k in (i, j))
                terms.append(max(0, margin + far - close))
    return np.mean(terms) if terms else 0.0


@pytest.mark.parametrize("number", [1, 3, 100])
def test_the_loss_is_that_of_loops(number):
    logits, features, labels, where = batch()
    rare = easy_anchors.is_rare(COUNTS)
    assert rare.tolist() == [False, True, True, True]

    def loss(features):
        outputs = easy_anchors.Outputs(jnp.asarray(logits), features)
        given = {"number": number, "margin": 0.2}
        return easy_anchors.triplets(outputs, jnp.asarray(labels), where, rare, **given)

    found, slope = jax.jit(jax.value_and_grad(loss))(jnp.asarray(features))
    expected = by_loops(logits, features, labels, where, rare, number, 0.2)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert expected > 0
    assert np.isfinite(slope).all()
    assert (slope[~where] == 0).all()


@pytest.mark.parametrize("same", [True, False])
def test_no_triplet_and_equal_features_give_no_nan(same):
    logits, _, labels, where = batch()
    rare = np.full(CLASSES, same)
    features = jnp.ones((SIZE, 5))

    def loss(features):
        outputs = easy_anchors.Outputs(jnp.asarray(logits), features)
        return easy_anchors.triplets(
            outputs, jnp.asarray(labels), where, rare, number=3, margin=0.2
        )

    value, slope = jax.jit(jax.value_and_grad(loss))(features)
    np.testing.assert_allclose(value, 0.2 if same else 0, rtol=1e-5)
    assert (slope == 0).all()


@pytest.mark.parametrize(
    ("counts", "rare"), [([1, 1], [True, False]), ([3, 1, 1, 1], [False, True, True, True])]
)
def test_rare_classes_have_half_of_the_examples_at_most(counts, rare):
    assert easy_anchors.is_rare(np.array(counts)).tolist() == rare


def config_of(**given):
    config = digits.get_config()
    config.devices, config.epochs, config.easy_anchors.weight = 1, 10, 2.0
    config.update_from_flattened_dict({key.replace("__", "."): own for key, own in given.items()})
    return config


def test_the_weight_falls_and_then_rests():
    own = config_of().easy_anchors
    expected = [2 * ((1 + np.cos(np.pi * epoch / 10)) / 2 + 0.01) for epoch in range(3)] + [
        0.02
    ] * 7
    np.testing.assert_allclose(easy_anchors.weights(own, 10), expected, rtol=1e-12)


def test_the_task_has_a_loss_more_and_the_same_network():
    runs = [build.build_run(config_of(easy_anchors__weight=own)) for own in (2.0, 0.0)]
    train, rows = runs[0].problem.stored(runs[0].dataset.train), np.arange(32)
    shape = (2, *train.inputs.shape[1:])
    key = jax.random.key(0)
    first, second = (jax.eval_shape(one.model.init, key, np.ones(shape), False) for one in runs)
    assert first == second
    # The first step of the second epoch.
    at = At(jnp.int32(0), jnp.int32(-(-len(train.index) // 64)))
    rare = easy_anchors.is_rare(np.bincount(train.targets))

    @jax.jit
    def found(variables, at):
        of = {}
        for one, name in zip(runs, ("with", "without"), strict=True):
            batch = one.problem.draw(train, rows, at)
            outputs = one.model.apply(variables, batch.inputs, train=True)
            right = one.problem.metrics["accuracy"](outputs, batch)
            predicted = one.problem.records["predicted"].of(outputs, batch)
            units = one.problem.units(outputs, batch)
            of[name] = units.losses, right, predicted
            if name == "with":
                given = {"number": 5, "margin": 0.2}
                loss = easy_anchors.triplets(outputs, batch.targets, batch.where, rare, **given)
                of["rest"], of["loss"] = units.rest, loss
                tested = one.problem.draw(train, rows, None)
                of["tested"] = one.problem.units(outputs, tested).rest
        return of

    of = found(runs[1].model.init(key, np.ones(shape), False), at)
    for ours, theirs in zip(of["with"], of["without"], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert of["loss"] > 0
    rest = 2 * ((1 + np.cos(np.pi / 10)) / 2 + 0.01) * of["loss"]
    np.testing.assert_allclose(of["rest"], rest, rtol=1e-5)
    assert of["tested"] == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"weight": -1.0}, r"easy_anchors\.weight: expected a number from 0 to 1e\+06, got -1"),
        ({"margin": 3.0}, r"easy_anchors\.margin: expected a number from 0 to 2, got 3"),
        ({"number": 0}, r"easy_anchors\.number: expected an integer from 1 to 1000, got 0"),
        ({"end": 2.0}, r"easy_anchors\.end: expected a number from 0 to 1, got 2"),
        ({"rest": -0.1}, r"easy_anchors\.rest: expected a number from 0 to 1, got -0\.1"),
    ],
)
def test_settings_are_checked(given, message):
    config = config_of(**{f"easy_anchors__{key}": own for key, own in given.items()})
    with pytest.raises(ValueError, match=message):
        build.build_run(config)


def test_mixtures_have_no_anchors():
    with pytest.raises(ValueError, match="a mixup has no class: expected 0"):
        build.build_run(config_of(augment__mixup=0.2))
