"""DivideMix: its loss against plain NumPy, what a step draws, its records, runs, and mistakes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import divide_mix as defaults
from experiments.runs import samples
from experiments.tasks import divide_mix
from experiments.tasks.base import At, Batch
from experiments.training import build, loop
from superloss_jax.memory import clean_probability

B, VIEWS, NETWORKS, CLASSES, FEATURES = 7, 2, 2, 4, 5
PENALTY, PRIOR, WEIGHT = 0.7, 1.3, 2.5


def config_of(**overrides):
    config = defaults.get_config()
    config.epochs, config.divide_mix.warmup_epochs = 2, 1.0
    config.update_from_flattened_dict(overrides)
    return config


# --- The loss. ------------------------------------------------------------------------------------


def case(right, warms_up, padding=0):
    """Returns a batch of random numbers, and the weights of two linear networks."""
    rng = np.random.default_rng(3)
    views = rng.normal(size=(B, VIEWS, FEATURES)).astype(np.float32)
    weights = rng.normal(size=(NETWORKS, FEATURES, CLASSES)).astype(np.float32)
    real = (B - padding) * VIEWS
    partner = np.append(rng.permutation(real), np.arange(real, B * VIEWS)).astype(np.int32)
    drawn = divide_mix.Drawn(
        views, np.float32(0.8), partner, np.bool_(warms_up), np.float32(WEIGHT)
    )
    inputs = views if warms_up else np.asarray(divide_mix.mixed(views, drawn))
    labels = rng.integers(0, CLASSES, B).astype(np.int32)
    where = np.arange(B) < B - padding
    seen = {f"right_{i}": np.asarray(right[i], np.float32) for i in range(NETWORKS)}
    return Batch(inputs, labels, labels, np.arange(B), where, drawn, (), seen), weights


@jax.jit
def loss_of(weights, batch):
    def outputs_of(inputs):
        return jnp.einsum("bvf,kfc->bvkc", inputs, weights)

    teach = divide_mix.teach_of(threshold=0.5, temperature=0.5)
    batch = batch._replace(taught=teach(outputs_of, batch))
    logits = outputs_of(batch.inputs)
    units = divide_mix.units_of(PRIOR, PENALTY)(logits, batch)
    return divide_mix.mean(units.losses, units.where, batch) + units.rest, units, batch.taught


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def expected_loss(batch, weights):
    """Network by network, with a set of images of each kind, as in the official code."""
    n = int(batch.where.sum())
    views, labels = np.asarray(batch.drawn.views[:n], np.float64), np.eye(CLASSES)[batch.targets]
    p = [softmax(views @ one) for one in weights]
    total = 0.0
    for k in range(NETWORKS):
        w = batch.seen[f"right_{1 - k}"]
        if batch.drawn.warms_up:
            own = p[k]
            loss = -np.log((own * labels[:n, None]).sum(-1)).mean()
            total += loss + PENALTY * (own * np.log(own)).sum(-1).mean()
            continue
        targets = []
        for i in range(n):
            refined = w[i] * labels[i] + (1 - w[i]) * (p[k][i, 0] + p[k][i, 1]) / 2
            guessed = sum(p[j][i, v] for j in range(NETWORKS) for v in range(VIEWS)) / 4
            one = (refined if w[i] > 0.5 else guessed) ** 2
            targets += [one / one.sum()] * VIEWS
        targets = np.array(targets)
        rows = views.reshape(n * VIEWS, -1)
        partner = batch.drawn.partner[: n * VIEWS]
        targets = 0.8 * targets + 0.2 * targets[partner]
        q = softmax((0.8 * rows + 0.2 * rows[partner]) @ weights[k])
        keeps = np.repeat(w[:n] > 0.5, VIEWS)
        if keeps.any():
            total -= (targets * np.log(q)).sum(-1)[keeps].mean()
        if not keeps.all():
            total += WEIGHT * ((q - targets) ** 2)[~keeps].mean()
        total += PRIOR * (np.log(1 / CLASSES / q.mean(0)) / CLASSES).sum()
    return total


DIVISION = [[0.9, 0.1, 0.51, 0.5, 0.7, 0.0, 1.0], [0.2, 0.8, 0.6, 0.3, 0.9, 1.0, 0.4]]


@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize(
    ("right", "warms_up"),
    [(DIVISION, False), (DIVISION, True), (np.ones((2, B)), False), (np.zeros((2, B)), False)],
    ids=["divided", "warm-up", "all kept", "none kept"],
)
def test_the_loss_is_that_of_the_official_code(right, warms_up, padding):
    batch, weights = case(right, warms_up, padding)
    found, units, taught = loss_of(weights, batch)
    np.testing.assert_allclose(found, expected_loss(batch, weights), rtol=1e-5)
    kept = np.ones((2, B), bool) if warms_up else np.asarray(right)[::-1] > 0.5
    assert (np.asarray(units.kind) == np.where(kept, 0, 1).T[:, None]).all()
    np.testing.assert_array_equal(units.where.all(axis=(1, 2)), batch.where)
    own = [softmax(batch.drawn.views @ one)[np.arange(B), :, batch.targets] for one in weights]
    np.testing.assert_allclose(taught.losses.T, -np.log(own).mean(-1), rtol=1e-4)


def test_sharpening_of_zeros_and_at_a_low_temperature():
    p = jnp.array([[0.5, 0.5, 0.0], [0.9, 0.1, 0.0]])
    np.testing.assert_allclose(
        divide_mix.sharpened(p, 0.5), [[0.5, 0.5, 0], [81 / 82, 1 / 82, 0]], rtol=1e-6
    )
    low = divide_mix.sharpened(p, 1e-3)
    np.testing.assert_allclose(low, [[0.5, 0.5, 0], [1, 0, 0]], atol=1e-6)


# --- What a step draws. ---------------------------------------------------------------------------


def test_partners_are_an_order_of_what_is_no_padding():
    rows = np.array([4, 2, 9, 7, -1, -1])
    seen = set()
    for step in range(4):
        found = np.asarray(divide_mix.partners(rows >= 0, At(0, step)))
        assert sorted(found[:8]) == list(range(8))
        assert found[8:].tolist() == [8, 9, 10, 11]
        seen.add(tuple(found))
    assert len(seen) == 4


def test_shares_are_of_beta_and_at_least_a_half():
    parts = jax.vmap(lambda step: divide_mix.share(At(0, step), 4.0))(jnp.arange(2000))
    reference = np.random.default_rng(0).beta(4, 4, 100_000)
    assert parts.min() >= 0.5
    expected = np.maximum(reference, 1 - reference)
    np.testing.assert_allclose(np.mean(parts), expected.mean(), atol=0.01)
    np.testing.assert_allclose(np.std(parts), expected.std(), atol=0.01)


def test_views_are_mixed_after_the_warm_up_and_the_weight_rises():
    run = build.build_run(config_of(**{"augment.pad": 1, "divide_mix.rampup_epochs": 0.5}))
    train = run.problem.stored(run.dataset.train)
    steps = -(-len(train.index) // 64)
    rows = np.arange(8) * 3
    draw = jax.jit(lambda step: run.problem.draw(train, rows, At(0, step)))
    for step in (0, steps - 1, steps, steps + 3, 2 * steps):
        batch = draw(step)
        views, drawn = batch.drawn.views, batch.drawn
        assert views.shape == (8, 2, 8, 8, 1)
        assert (views[:, 0] != views[:, 1]).any()
        assert drawn.warms_up == (step < steps)
        weight = 25 * min(max(step - steps, 0) / (0.5 * steps), 1)
        np.testing.assert_allclose(drawn.weight, weight, rtol=1e-6)
        expected = views
        if step >= steps:
            flat = np.asarray(views).reshape(16, 8, 8, 1)
            expected = drawn.part * flat + (1 - drawn.part) * flat[drawn.partner]
        np.testing.assert_allclose(batch.inputs, np.reshape(expected, views.shape), atol=1e-6)


# --- Runs. ----------------------------------------------------------------------------------------


def member(path, seed):
    config = config_of(batch_size=250, seed=seed, **{"data.split_seed": seed})
    path.mkdir()
    return build.Member(config, build.build_run(config), path)


def test_the_records_of_a_run_fit_and_it_is_the_same_at_once_with_another(tmp_path):
    alone = member(tmp_path / "alone", 0)
    [results] = loop.train([alone])
    rows = samples.read_samples(alone.path)
    for i in range(NETWORKS):
        expected = clean_probability(jnp.asarray(rows[f"loss_{i}"], jnp.float32))
        np.testing.assert_allclose(rows[f"right_{i}"], expected, atol=1e-4)
        assert rows[f"right_{i}"].std() > 0.1
    assert (rows["right_0"] != rows["right_1"]).any()
    for name, of in (("loss", "loss"), ("weight", "right")):
        mean = (rows[f"{of}_0"] + rows[f"{of}_1"]) / 2
        np.testing.assert_allclose(rows[name], mean, rtol=1e-5)
    last = results["last_epoch"]
    right = (rows["predicted"] == rows["target"]).mean()
    assert last["train_accuracy"] == pytest.approx(right)
    assert last["auroc_weight"] > 0.7
    both = [member(tmp_path / f"at_once_{seed}", seed) for seed in (0, 1)]
    at_once = loop.train(both)[0]["last_epoch"]
    for key in ("train_loss", "test_loss", "auroc_weight", "test_accuracy"):
        assert at_once[key] == pytest.approx(last[key], rel=0.02, abs=3e-3)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"augment.mixup": 1.0}, "config.augment.mixup: divide_mix mixes .* expected 0, got 1.0"),
        ({"divide_mix.warmup_epochs": 4.0}, "config.divide_mix.warmup_epochs: .* from 0 to 2"),
        ({"divide_mix.rampup_epochs": -1.0}, "config.divide_mix.rampup_epochs: expected"),
        ({"divide_mix.threshold": 1.5}, "config.divide_mix.threshold: expected a number from 0"),
        ({"divide_mix.temperature": 0.0}, "config.divide_mix.temperature: expected a finite"),
        ({"divide_mix.alpha": float("nan")}, "config.divide_mix.alpha: expected a finite number"),
        ({"divide_mix.weight": -1.0}, "config.divide_mix.weight: expected"),
        ({"divide_mix.prior": -1.0}, "config.divide_mix.prior: expected"),
        ({"divide_mix.penalise_confidence": -1.0}, "divide_mix.penalise_confidence: expected"),
        ({"loss.method": "early_learning"}, "early_learning needs classes, .* units do not have"),
        ({"loss.method": "loss_memory"}, "config.loss.method: .*index"),
        ({"loss.method": "co_teaching"}, "config.loss.method: two networks that teach each other"),
    ],
)
def test_mistakes(overrides, message):
    with pytest.raises(ValueError, match=message) as error:
        build.build_run(config_of(**overrides))
    assert "\n" not in str(error.value)
