"""Wrong identities: labels of training images for retrieval, which are drawn among its classes."""

import numpy as np

from experiments import checks, rng

KINDS = ("symmetric_exclusive", "small_cluster", "given")
SIZE = 3  # images of a small cluster, on average


def check(kind: str, rate: float = 0.0, seed: int = 0) -> None:
    """Raises ValueError for invalid noise settings, before any data is read."""
    checks.choose("config.noise.kind", kind, dict.fromkeys(KINDS))
    checks.within("config.noise.rate", rate, 0, 1)
    checks.seed("config.noise.seed", seed)


def corrupt(images: np.ndarray, clean: np.ndarray, kind: str, rate: float, seed: int) -> np.ndarray:
    """Returns labels of which a share is wrong. Wrong ones are among the classes that occur.

    `symmetric_exclusive` gives each image, with probability `rate`, one of the other classes.
    `small_cluster` dissolves whole classes, in random order, until they have a share `rate` of the
    images: each is split into clusters of similar images, which random other classes get. After
    Chang Liu et al., "Noise-resistant Deep Metric Learning with Ranking-based Instance Selection",
    CVPR 2021, where clusters are of features of a trained network. Here they are of small images.
    """
    classes, labels = np.unique(clean, return_inverse=True)
    if not rate or kind == "given":
        return clean
    if kind == "symmetric_exclusive":
        first, second = _bits(seed, (2, len(labels)))
        other = (labels + 1 + _below(second, len(classes) - 1)) % len(classes)
        return classes[np.where(first < rate * 2.0**32, other, labels)].astype(clean.dtype)
    return classes[_small_clusters(images, labels, rate, seed)].astype(clean.dtype)


def _small_clusters(images, labels, rate: float, seed: int) -> np.ndarray:
    from sklearn.cluster import KMeans

    number, noisy = labels.max() + 1, labels.copy()
    order = np.argsort(_bits(seed, (1, number))[0], kind="stable")
    sizes = np.bincount(labels)[order]
    gone = order[: np.searchsorted(np.cumsum(sizes), round(rate * len(labels)), side="right")]
    left = np.setdiff1d(np.arange(number), gone)
    if len(left) < 2:
        raise ValueError("config.noise.rate: small_cluster leaves fewer than 2 classes; lower it")
    for i, own in enumerate(gone):
        members = np.flatnonzero(labels == own)
        wanted = max(1, len(members) // SIZE)
        means = KMeans(wanted, n_init=1, random_state=seed).fit(_small(images[members]))
        targets = left[_below(_bits(seed, (1, wanted), 1 + i)[0], len(left))]
        noisy[members] = targets[means.labels_]
    return noisy


def _small(images: np.ndarray) -> np.ndarray:
    """Returns images of 8x8 pixels at most, as rows: means of blocks."""
    height, width = (max(1, side // 8) for side in images.shape[1:3])
    rows, columns = images.shape[1] // height, images.shape[2] // width
    cut = images[:, : rows * height, : columns * width].astype(np.float32)
    blocks = cut.reshape(len(images), rows, height, columns, width, -1)
    return blocks.mean(axis=(2, 4)).reshape(len(images), -1)


def _bits(seed: int, shape: tuple[int, ...], number: int = 0) -> np.ndarray:
    return np.asarray(rng.bits(rng.key_for(seed, rng.NOISE, number), shape))


def _below(bits: np.ndarray, number: int) -> np.ndarray:
    return (bits.astype(np.uint64) * np.uint64(number) >> np.uint64(32)).astype(np.int64)
