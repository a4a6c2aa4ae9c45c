"""Scores of a ranking by cosine similarity, on the host, in blocks of queries.

Each example is a query, and all others are its gallery. Of equally similar ones the first comes
first. Queries whose class has no other example do not count.
"""

import numpy as np

AT = (1, 2, 4, 8)
NAMES = (*(f"recall_at_{k}" for k in AT), "r_precision", "map_at_r")
NEIGHBOURS = 8  # that are kept of each example
BLOCK_BYTES = 2**26  # of similarities at a time


def nearest(embeddings: np.ndarray, queries: slice, number: int) -> np.ndarray:
    """Returns the positions of the `number` nearest neighbours of each query, nearest first."""
    similarity = (embeddings[queries] @ embeddings.T).astype(np.float32)
    places = np.arange(*queries.indices(len(embeddings)))
    similarity[np.arange(len(places)), places] = -np.inf
    similarity += 0.0  # -0 becomes 0
    # As integers that are ordered like the floats, with the position behind: no two are equal.
    bits = similarity.view(np.int32)
    keys = np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits).astype(np.int64)
    keys <<= 32
    keys += len(embeddings) - 1 - np.arange(len(embeddings))
    kept = np.partition(keys, len(embeddings) - number, axis=1)[:, -number:]
    kept[:, ::-1].sort(axis=1)  # the largest first
    return len(embeddings) - 1 - (kept & 0xFFFFFFFF)


def rows_of_a_block(size: int) -> int:
    """Returns how many queries are ranked at a time."""
    return max(1, BLOCK_BYTES // (12 * size))


def scores(embeddings: np.ndarray, labels: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    """Returns the scores by name, and the nearest neighbours of each example, (N, NEIGHBOURS).

    recall_at_k is the share of queries with one of their class among the k nearest. With R others
    of its class, r_precision is their share of a query's R nearest, and map_at_r the mean over
    ranks i up to R of the precision at i, where the i-th is of the class, and of 0 elsewhere.
    """
    size = len(labels)
    _, own, counts = np.unique(labels, return_inverse=True, return_counts=True)
    relevant = counts[own] - 1  # R of each query
    number = min(max(*AT, relevant.max()), size - 1)
    sums, neighbours = np.zeros(len(NAMES)), np.full((size, NEIGHBOURS), -1, np.int32)
    rows = rows_of_a_block(size)
    for start in range(0, size, rows):
        queries = slice(start, min(start + rows, size))
        found = nearest(embeddings, queries, number)
        kept = found[:, :NEIGHBOURS]
        neighbours[queries, : kept.shape[1]] = kept
        known = relevant[queries] > 0
        hits = (labels[found] == labels[queries][:, None])[known]
        sums += of_queries(hits, relevant[queries][known])
    values = sums / max((relevant > 0).sum(), 1)
    return dict(zip(NAMES, map(float, values), strict=True)), neighbours


def of_queries(hits: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Returns the sum of each score over queries, from the hits in order and R of each."""
    ranks = np.arange(1, hits.shape[1] + 1)
    within = hits & (ranks[None] <= relevant[:, None])
    precision = np.cumsum(within, axis=1) / ranks
    recalls = [hits[:, :k].any(axis=1).sum() for k in AT]
    return np.array([
        *recalls,
        (within.sum(axis=1) / relevant).sum(),
        ((precision * within).sum(axis=1) / relevant).sum(),
    ])  # fmt: skip
