"""How often each class is drawn: numbers, batches, and what an error says."""

import types
from contextlib import nullcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import digits, imbalance
from experiments.runs import files, identity
from experiments.tasks.base import shuffled
from experiments.training import build, class_shares, seeds

SIZES = np.array([90, 40, 21, 12])
EPOCHS = 5
G = {  # as the paper writes them, of epoch l of L; 0.99^l of 300 epochs is 0.05 at the end
    "balanced": lambda epoch: 0 * epoch,
    "linear": lambda epoch: 1 - epoch / EPOCHS,
    "cosine": lambda epoch: np.cos(epoch / EPOCHS * np.pi / 2),
    "exponential": lambda epoch: 0.05 ** (epoch / EPOCHS),
    "composite": lambda epoch: np.cos(epoch / EPOCHS * np.pi) / 2 + 1 / 2,
}


@pytest.mark.parametrize("schedule", G)
def test_numbers_are_those_of_the_paper(schedule):
    """D_target = D_train^g(l), where D = 1 : n_1 / n_min : ...; the examples are 163 throughout."""
    found = class_shares.numbers(SIZES, schedule, EPOCHS)
    for epoch in range(EPOCHS):
        target = (SIZES / SIZES.min()) ** G[schedule](epoch)
        np.testing.assert_allclose(found[epoch], 163 * target / target.sum(), rtol=0, atol=1)
    assert (found.sum(axis=1) == 163).all()
    assert found[0].tolist() == ([41, 41, 40, 41] if schedule == "balanced" else SIZES.tolist())
    assert np.ptp(found[-1]) < np.ptp(SIZES)


@pytest.mark.parametrize(("schedule", "batch_size"), [("given", 20), ("cosine", 20), ("linear", 7)])
def test_an_epoch_draws_these_numbers(schedule, batch_size):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(4), SIZES))
    drawn = class_shares.numbers(SIZES, schedule, EPOCHS)
    order = jax.jit(class_shares.order_of(labels, drawn), static_argnums=(2, 3))
    for epoch in range(1, EPOCHS + 1):
        rows = np.asarray(order(3, epoch, 163, batch_size))
        there = rows[rows >= 0]
        assert rows.shape == (-(-163 // batch_size), batch_size)
        assert len(there) == 163
        assert all(len(set(row[row >= 0])) == sum(row >= 0) for row in rows)  # none twice in one
        times = np.bincount(there, minlength=163)
        for one in range(4):
            assert times[labels == one].sum() == drawn[epoch - 1, one]
            assert np.ptp(times[labels == one]) <= 1
        of_class = np.array([np.bincount(labels[row[row >= 0]], minlength=4) for row in rows])
        assert (of_class <= class_shares.at_most(drawn, batch_size)).all()
        assert epoch > 1 or sorted(there) == [*range(163)]  # each once, as without
        assert (rows != order(4, epoch, 163, batch_size)).any()
        assert (rows != order(3, epoch % EPOCHS + 1, 163, batch_size)).any()


def config_of(**given):
    config = digits.get_config()
    config.devices, config.batch_size, config.data.imbalance = 1, 32, 10.0
    config.noise.rate = 0.0
    config.loss.method = "cross_entropy"
    config.update_from_flattened_dict({key.replace("__", "."): own for key, own in given.items()})
    return config


def test_a_run_draws_balanced_batches():
    run = build.build_run(config_of(curriculum__classes="balanced"))
    labels, size = run.dataset.train.targets, len(run.dataset.train.index)
    rows = np.asarray(run.problem.order(0, 1, size, 32)).ravel()
    assert np.ptp(np.bincount(labels[rows[rows >= 0]])) <= 1
    assert np.bincount(labels).max() > 5 * np.bincount(labels).min()
    assert build.build_run(config_of()).problem.order is shuffled


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"curriculum__classes": "cosin"}, r"classes: expected one of .*did you mean cosine"),
        (
            {"curriculum__classes": "balanced", "data__imbalance": 100.0, "batch_size": 256},
            r"classes: class \d has \d+ examples, and a batch of 256 may have \d+ of it: choose a",
        ),
        (
            {"curriculum__classes": "balanced", "curriculum__difficulty": "unread.csv"},
            r"unread\.csv: No such file",
        ),
        (
            {"loss__method": "logit_adjustment", "data__imbalance": 1e6},
            r"logit_adjustment: it needs training labels of each class: expected at least 1 of cl",
        ),
        ({"loss__method": "logit_adjustment", "loss__logit_adjustment__tau": -1.0}, "tau: exp"),
    ],
)
def test_what_does_not_fit_is_refused(given, message):
    with pytest.raises(ValueError, match=message) as caught:
        build.build_run(config_of(**given))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("own", "targets", "message"),
    [
        ({}, np.zeros(3), "retrieval has an order of its own: expected given"),
        ({"difficulty": "x"}, np.zeros(3), "a curriculum by difficulty has an order of its own"),
        ({"order": shuffled}, np.zeros(3), "retrieval has no class for each example"),
        ({"order": shuffled}, np.array([0, -1]), "retrieval has no class for each example"),
    ],
)
def test_what_has_no_classes_to_draw_is_refused(own, targets, message):
    config = config_of(curriculum__classes="linear")
    config.task = "retrieval"
    config.curriculum.difficulty = own.get("difficulty")
    problem = types.SimpleNamespace(order=own.get("order"))
    dataset = types.SimpleNamespace(train=types.SimpleNamespace(targets=targets))
    with pytest.raises(ValueError, match=message):
        class_shares.sampled(config, dataset, problem)


def test_the_prior_is_of_the_given_labels():
    run = build.build_run(config_of(loss__method="logit_adjustment", noise__rate=0.3))
    labels, zeros = np.arange(10), jnp.zeros((10, 10))
    losses, _ = run.method.update(jnp.ones(10), (), logits=zeros, labels=labels)
    prior = np.bincount(run.dataset.train.targets) / len(run.dataset.train.index)
    np.testing.assert_allclose(losses, -np.log(prior), rtol=1e-5)


def test_runs_of_other_priors_are_not_trained_at_once():
    def members(method, *noise):
        configs = [config_of(loss__method=method, noise__rate=0.3) for _ in noise]
        for config, number in zip(configs, noise, strict=True):
            config.data.imbalance, config.noise.seed = 1.0, number
        return [build.Member(config, build.build_run(config), None) for config in configs]

    assert seeds.fit_together(members("cross_entropy", 0, 1))
    assert seeds.fit_together(members("logit_adjustment", 0, 0))
    assert not seeds.fit_together(members("logit_adjustment", 0, 1))


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ({"curriculum__classes": "cosine"}, True),
        ({"curriculum__classes": "balanced"}, False),
        ({"curriculum__difficulty": "file.csv"}, True),
        ({"easy_anchors__weight": 1.0}, True),
        ({}, False),
    ],
)
def test_more_epochs_would_change_what_was_drawn(tmp_path, given, refused):
    config = config_of(**given)
    files.write_json(tmp_path / files.CONFIG, config.to_dict())
    config.epochs += 20
    with pytest.raises(ValueError, match="epochs: 60 -> 80") if refused else nullcontext():
        files.check_unchanged(tmp_path, config.to_dict(), resumable=True)


def test_packed_runs_of_before_are_points_of_the_sweep():
    """Their hashes in results/curbench, which are older than the keys."""
    found = set()
    for point in imbalance.sweep():
        config = imbalance.get_config()
        config.update_from_flattened_dict(point)
        found.add(identity.config_sha256(config.to_dict())[:8])
    assert {"4a5cddce", "5f7c99ab", "d68efe45", "b66db7c9", "57f45fe9", "b26d26a7"} <= found
