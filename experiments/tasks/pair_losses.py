"""Losses of pairs and triplets of images, from their cosine similarities.

Each function gets similarities (B, B) and masks of the pairs (i, j) with the same and with another
label, neither of which has i = j or padding.
"""

from typing import NamedTuple

import jax.numpy as jnp

POSITIVE, NEGATIVE = range(2)  # kinds of pairs


class Losses(NamedTuple):
    losses: jnp.ndarray
    where: jnp.ndarray
    kind: jnp.ndarray | None = None  # if there are two


def masks(labels, where):
    """Returns the masks of positive and of negative pairs."""
    pairs = where[:, None] & where[None, :] & ~jnp.eye(len(labels), dtype=bool)
    same = labels[:, None] == labels[None, :]
    return pairs & same, pairs & ~same


def contrastive(similarity, positive, negative, *, margin: float) -> Losses:
    """1 - s of a positive pair, s - margin of a negative one where that is above 0; (B, B).

    With cosines, as in Xun Wang et al., "Cross-Batch Memory for Embedding Learning", CVPR 2020.
    """
    losses = jnp.where(positive, 1 - similarity, jnp.maximum(0, similarity - margin))
    where = positive | (negative & (losses > 0))
    return Losses(losses, where, jnp.where(positive, POSITIVE, NEGATIVE))


def contrastive_of_images(similarity, positive, negative, *, margin: float) -> Losses:
    """The sum of an image's mean loss over positive and over negative pairs; (B,)."""
    losses, where, _ = contrastive(similarity, positive, negative, margin=margin)
    means = [row_mean(losses, where & of) for of in (positive, negative)]
    return Losses(means[0] + means[1], positive.any(axis=1) & negative.any(axis=1))


def row_mean(values, where):
    """Returns the mean of each row; 0 where nothing counts."""
    count = jnp.maximum(jnp.sum(where, axis=1), 1)
    return jnp.sum(jnp.where(where, values, 0), axis=1) / count


def semi_hard(similarity, positive, negative, *, margin: float) -> Losses:
    """max(0, s(a, n) - s(a, p) + margin) of each positive pair (a, p), with one negative n; (B, B).

    n is the most similar to a of those that are less similar than p; if all are more similar, the
    least similar of them. Florian Schroff, Dmitry Kalenichenko, James Philbin, "FaceNet: A Unified
    Embedding for Face Recognition and Clustering", CVPR 2015.
    """
    of_negatives = similarity[:, None, :]  # (a, p, n)
    less = negative[:, None, :] & (of_negatives < similarity[:, :, None])
    hardest = jnp.max(jnp.where(less, of_negatives, -jnp.inf), axis=-1)
    easiest = jnp.min(jnp.where(negative, similarity, jnp.inf), axis=-1, keepdims=True)
    found = jnp.where(less.any(axis=-1), hardest, easiest)
    where = positive & negative.any(axis=1, keepdims=True)
    return Losses(jnp.maximum(0, jnp.where(where, found - similarity, 0) + margin), where)


def all_triplets(similarity, positive, negative, *, margin: float) -> Losses:
    """max(0, s(a, n) - s(a, p) + margin) of all triplets (a, p, n) where it is not 0; (B, B, B).

    Alexander Hermans, Lucas Beyer, Bastian Leibe, "In Defense of the Triplet Loss for Person
    Re-Identification", 2017: batch all.
    """
    losses = jnp.maximum(0, similarity[:, None, :] - similarity[:, :, None] + margin)
    return Losses(losses, positive[:, :, None] & negative[:, None, :] & (losses > 0))


def multi_similarity(
    similarity, positive, negative, *, alpha: float, beta: float, base: float, epsilon: float
) -> Losses:
    """log(1 + sum exp(-alpha (s - base))) / alpha over an image's positive pairs, plus
    log(1 + sum exp(beta (s - base))) / beta over its negative ones; (B,).

    Only pairs count that are less similar than the most similar negative plus epsilon, or more
    similar than the least similar positive minus epsilon. Xun Wang et al., "Multi-Similarity Loss
    with General Pair Weighting for Deep Metric Learning", CVPR 2019.
    """
    hardest = jnp.max(jnp.where(negative, similarity, -jnp.inf), axis=1, keepdims=True)
    weakest = jnp.min(jnp.where(positive, similarity, jnp.inf), axis=1, keepdims=True)
    found = jnp.zeros(len(similarity), similarity.dtype)
    for pairs, factor in (
        (positive & (similarity - epsilon < hardest), -alpha),
        (negative & (similarity + epsilon > weakest), beta),
    ):
        exponents = jnp.where(pairs, factor * (similarity - base), -jnp.inf)
        zero = jnp.zeros_like(exponents[:, :1])
        found += jnp.log(jnp.sum(jnp.exp(jnp.concatenate([zero, exponents], 1)), 1)) / abs(factor)
    return Losses(found, positive.any(axis=1) & negative.any(axis=1))
