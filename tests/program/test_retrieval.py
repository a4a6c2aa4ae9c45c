"""Losses, order and ranking of retrieval, against plain loops."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from experiments.tasks import orders, pair_losses, pair_units, ranking
from experiments.tasks.base import UNKNOWN, Batch, shuffled
from experiments.tasks.pair_units import Drawn
from tests.program.test_retrieval_runs import config_of

LABELS = np.array([0, 0, 0, 1, 1, 2, 2, 9])
WHERE = np.array([True] * 7 + [False])
CLEAN = np.array([0, 0, 1, 1, 0, 2, 2, 9])


def similarities(seed=0):
    vectors = np.random.default_rng(seed).normal(size=(8, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors @ vectors.T).astype(np.float32)


def found_by(function, similarity, **settings):
    masks = pair_losses.masks(jnp.array(LABELS), jnp.array(WHERE))
    return [np.asarray(x) for x in function(jnp.array(similarity), *masks, **settings)
            if x is not None]  # fmt: skip


def of(i):
    """Returns the positive and the negative partners of an image."""
    others = [j for j in range(7) if j != i]
    return ([j for j in others if LABELS[j] == LABELS[i]],
            [j for j in others if LABELS[j] != LABELS[i]])  # fmt: skip


def test_contrastive_pairs_one_by_one():
    s = similarities()
    losses, where, kind = found_by(pair_losses.contrastive, s, margin=0.2)
    for i, j in itertools.product(range(8), range(8)):
        positives, negatives = of(i) if i < 7 else ([], [])
        if j in positives:
            assert where[i, j]
            assert (kind[i, j], losses[i, j]) == (0, pytest.approx(1 - s[i, j]))
        else:
            assert where[i, j] == (j in negatives and s[i, j] > 0.2)
            if where[i, j]:
                assert (kind[i, j], losses[i, j]) == (1, pytest.approx(s[i, j] - 0.2, abs=1e-6))
    of_images, where = found_by(pair_losses.contrastive_of_images, s, margin=0.2)
    assert where.tolist() == WHERE.tolist()
    for i in range(7):
        positives, negatives = of(i)
        beyond = [s[i, j] - 0.2 for j in negatives if s[i, j] > 0.2]
        expected = np.mean([1 - s[i, j] for j in positives]) + (np.mean(beyond) if beyond else 0)
        assert of_images[i] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_triplets_one_by_one(seed):
    s = similarities(seed)
    losses, where = found_by(pair_losses.semi_hard, s, margin=0.1)
    every, counted = found_by(pair_losses.all_triplets, s, margin=0.1)
    for i in range(7):
        positives, negatives = of(i)
        assert set(np.flatnonzero(where[i])) == {*positives}
        for j in positives:
            less = [s[i, k] for k in negatives if s[i, k] < s[i, j]]
            chosen = max(less) if less else min(s[i, k] for k in negatives)
            assert losses[i, j] == pytest.approx(max(0, chosen - s[i, j] + 0.1), abs=1e-6)
        for j, k in itertools.product(range(8), range(8)):
            violated = j in positives and k in negatives and s[i, k] - s[i, j] + 0.1 > 0
            assert counted[i, j, k] == violated
            if violated:
                assert every[i, j, k] == pytest.approx(s[i, k] - s[i, j] + 0.1, abs=1e-6)
    assert not where[7].any()
    assert not counted[7].any()


def test_multi_similarity_one_by_one():
    s = similarities()
    settings = {"alpha": 2.0, "beta": 5.0, "base": 0.5, "epsilon": 0.1}
    losses, where = found_by(pair_losses.multi_similarity, s, **settings)
    assert where.tolist() == WHERE.tolist()
    mined = 0
    for i in range(7):
        positives, negatives = of(i)
        hard = [j for j in positives if s[i, j] - 0.1 < max(s[i, k] for k in negatives)]
        near = [k for k in negatives if s[i, k] + 0.1 > min(s[i, j] for j in positives)]
        mined += len(hard) + len(near)
        expected = math.log(1 + sum(math.exp(-2 * (s[i, j] - 0.5)) for j in hard)) / 2
        expected += math.log(1 + sum(math.exp(5 * (s[i, k] - 0.5)) for k in near)) / 5
        assert losses[i] == pytest.approx(expected, rel=1e-5)
    assert mined < 7 * 6  # not all pairs


def batch_of():
    arrays = (jnp.array(x) for x in (LABELS, CLEAN, np.arange(8)))
    return Batch(None, *arrays, where=jnp.array(WHERE), drawn=Drawn(jnp.arange(8)))


def test_the_shares_below_make_the_area_under_the_curve():
    vectors = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    outputs = type("Outputs", (), {"embeddings": jnp.array(vectors)})
    form = pair_units.form_of(loss="contrastive", units="pairs", margin=-1.0)
    shares = np.asarray(form.metrics["auroc"](outputs, batch_of()))
    units = form.units(outputs, batch_of())
    losses, where, kind = (np.asarray(x) for x in (units.losses, units.where, units.kind))
    for number, name in enumerate(("positive", "negative")):
        masks = {}
        for word in ("right", "wrong"):
            group = form.groups[f"{word}_{name}"]
            masks[word] = where & (kind == number) & group(LABELS, CLEAN)
        assert masks["wrong"].any()
        assert masks["right"].any()
        both = masks["wrong"] | masks["right"]
        expected = roc_auc_score(masks["wrong"][both], losses[both])
        assert shares[masks["wrong"]].mean() == pytest.approx(expected, abs=1e-3)
        assert (shares[masks["right"]] == UNKNOWN).all()


def test_a_batch_has_as_many_images_of_each_class():
    sizes = [7, 1, 3, 12, 5, 9]
    labels = np.random.default_rng(0).permutation(np.repeat([4, 5, 6, 8, 9, 11], sizes))
    order = orders.classes_times_images(labels, 4)
    size, rows = len(labels), np.asarray(order(3, 1, len(labels), 12))
    assert rows.shape == shuffled(3, 1, size, 12).shape
    counts = np.zeros(size, int)
    for epoch in range(1, 200):
        for row in np.asarray(jax.jit(order, static_argnums=(2, 3))(3, epoch, size, 12)):
            known = row[row >= 0]
            assert len(set(known)) == len(known)
            groups = row.reshape(3, 4)
            classes = {labels[group[0]] for group in groups}
            assert len(classes) == 3
            for group in groups:
                [own] = {labels[i] for i in group if i >= 0}
                assert (group >= 0).sum() == min(4, (labels == own).sum())
            np.add.at(counts, known, 1)
    assert counts[labels == 5].sum() == 0  # a single image has no partner
    for own, number in zip((4, 6, 8, 9, 11), (7, 3, 12, 5, 9), strict=True):
        mean, parts = counts[labels == own].mean(), counts[labels == own]
        assert mean * number / min(4, number) == pytest.approx(199 * 4 * 3 / 5, rel=0.1)
        assert abs(parts / mean - 1).max() < 0.3  # each image equally often
    np.testing.assert_array_equal(rows, order(3, 1, size, 12))
    assert (rows != np.asarray(order(4, 1, size, 12))).any()
    assert (rows != np.asarray(order(3, 2, size, 12))).any()


def plain_scores(embeddings, labels):
    """The definitions, with loops."""
    found = {name: [] for name in ranking.NAMES}
    for i in range(len(labels)):
        cosines = embeddings @ embeddings[i]
        ranked = sorted((j for j in range(len(labels)) if j != i), key=lambda j: (-cosines[j], j))
        relevant = sum(labels[j] == labels[i] for j in ranked)
        if not relevant:
            continue
        hits = [labels[j] == labels[i] for j in ranked]
        for k in (1, 2, 4, 8):
            found[f"recall_at_{k}"].append(any(hits[:k]))
        found["r_precision"].append(sum(hits[:relevant]) / relevant)
        terms = [sum(hits[: r + 1]) / (r + 1) for r in range(relevant) if hits[r]]
        found["map_at_r"].append(sum(terms) / relevant)
    return {name: np.mean(values) for name, values in found.items()}


@pytest.mark.parametrize("case", ["random", "ties", "equal", "few", "lone"])
def test_scores_are_those_of_a_loop(case, monkeypatch):
    rng = np.random.default_rng(0)
    number = {"few": 5}.get(case, 60)
    labels = rng.integers(0, 9, number)
    if case == "lone":
        labels[:4] = [20, 21, 22, 23]
    # Multiples of 1/4: cosines are exact, and many are equal, also to 0 and -0.
    values = (
        rng.integers(-2, 3, (number, 4)) / 4 if case == "ties" else rng.normal(size=(number, 4))
    )
    embeddings = np.ones((number, 4)) if case == "equal" else values
    embeddings = embeddings.astype(np.float32)
    monkeypatch.setattr(ranking, "BLOCK_BYTES", 12 * number * 7)  # blocks of 7 queries
    scores, neighbours = ranking.scores(embeddings, labels)
    expected = plain_scores(embeddings, labels)
    assert scores == pytest.approx(expected, rel=1e-6)
    cosines = embeddings @ embeddings.T
    for i, row in enumerate(neighbours):
        others = sorted((j for j in range(number) if j != i), key=lambda j: (-cosines[i, j], j))
        shown = min(8, number - 1)
        assert row.tolist() == others[:shown] + [-1] * (8 - shown)


@pytest.mark.parametrize(("changes", "said"), [
    ({"embedding.loss": "contrastiv"}, "did you mean contrastive"),
    ({"embedding.units": "pair"}, "expected one of pairs, images"),
    ({"embedding.loss": "triplet", "embedding.negatives": "hard"}, "semi_hard, all"),
    ({"embedding.margin": 3.0}, "expected a number from -1 to 2"),
    ({"embedding.loss": "softmax", "embedding.temperature": 0.0}, "finite number > 0"),
    ({"embedding.per_class": 1}, "expected an integer from 2"),
    ({"embedding.per_class": 5}, "2 to 5 classes times 5 images, got 16"),
    ({"embedding.per_class": 2}, "2 to 5 classes times 2 images, got 16"),
    ({"embedding.dim": 0}, "integer from 2"),
    ({"loss.method": "cross_entropy"}, "without a method is plain"),
    ({"loss.method": "remembered_superloss"}, "classes not trained on have none"),
    ({"loss.method": "loss_memory"}, "needs"),
    ({"loss.method": "co_teaching"}, "co_teaching needs a loss of each image"),
    ({"loss.method": "data_parameters"}, "needs"),
    ({"loss.method": "trend_superloss"}, "needs"),
    ({"loss.method": "bootstrap"}, "needs"),
])  # fmt: skip
def test_what_makes_no_sense_is_refused_in_one_line(changes, said):
    from experiments.training import build

    with pytest.raises(ValueError, match=said) as caught:
        build.build_run(config_of(**changes))
    assert "\n" not in str(caught.value)


def test_the_mean_is_one_of_each_kind():
    form = pair_units.form_of(loss="contrastive", units="pairs", margin=0.2, positives=1.5)
    s = similarities()
    losses, where, _ = found_by(pair_losses.contrastive, s, margin=0.2)
    pairs = [(i, j) for i, j in itertools.product(range(7), range(7)) if i != j]
    positive = [1 - s[i, j] for i, j in pairs if LABELS[i] == LABELS[j]]
    negative = [s[i, j] - 0.2 for i, j in pairs if LABELS[i] != LABELS[j] and s[i, j] > 0.2]
    found = form.mean(jnp.array(losses), jnp.array(where), batch_of())
    assert found == pytest.approx(1.5 * np.mean(positive) + np.mean(negative), rel=1e-5)
    assert form.mean(jnp.array(losses), jnp.zeros((8, 8), bool), batch_of()) == 0
