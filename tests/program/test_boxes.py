"""Boxes: overlaps, suppression and assignment, compared with second formulas."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.tasks import boxes, detections

RNG = np.random.default_rng(0)


def some_boxes(number, side=40):
    low = RNG.integers(0, side - 12, (number, 2))
    return np.concatenate([low, low + RNG.integers(1, 12, (number, 2))], axis=1).astype(np.float32)


def pixels(box):
    return {*itertools.product(range(int(box[0]), int(box[2])), range(int(box[1]), int(box[3])))}


def test_overlaps_are_those_of_sets_of_pixels():
    a, b = some_boxes(40), some_boxes(40)
    a[0], b[0] = b[1], b[1]  # the same
    b[2] = a[2] + 20  # apart
    ious, gious = boxes.iou(a, b), boxes.giou(a, b)
    for i in range(40):
        one, other = pixels(a[i]), pixels(b[i])
        expected = len(one & other) / len(one | other)
        low, high = np.minimum(a[i], b[i])[:2], np.maximum(a[i], b[i])[2:]
        hull = len(pixels([*low, *high]))
        assert ious[i] == pytest.approx(expected, abs=1e-6)
        assert gious[i] == pytest.approx(expected - (hull - len(one | other)) / hull, abs=1e-6)
    assert ious[0] == gious[0] == 1
    assert (ious[2], gious[2] < 0) == (0, True)


def test_boxes_without_area_have_finite_overlaps_and_gradients():
    flat = jnp.array([5.0, 5.0, 5.0, 9.0])
    for overlap in (boxes.iou, boxes.giou):
        for other in (flat, jnp.array([5.0, 5.0, 9.0, 9.0])):
            value, gradient = jax.value_and_grad(overlap)(flat, other)
            assert np.isfinite([value, *gradient]).all()


def greedy(box, label, threshold):
    """Non-maximum suppression one box at a time, with the plain formula of IoU."""
    stays = []
    for i in range(len(box)):
        one = pixels(box[i])
        over = (len(one & pixels(box[j])) / len(one | pixels(box[j])) > threshold
                for j in stays if label[j] == label[i])  # fmt: skip
        if not any(over):
            stays.append(i)
    return stays


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 1.0])
def test_suppression_is_greedy(threshold):
    suppress = jax.jit(boxes.kept, static_argnums=2)
    for _ in range(5):
        box, label = some_boxes(60, side=24), RNG.integers(0, 3, 60)
        found = np.flatnonzero(suppress(box, label, threshold))
        assert found.tolist() == greedy(box, label, threshold)


def test_a_chain_of_boxes_is_settled_from_its_first():
    """Each suppresses the next, so that every second one stays."""
    low = np.arange(0, 30, 3, dtype=np.float32)
    chain = np.stack([low, 0 * low, low + 9, 0 * low + 9], axis=1)
    assert boxes.kept(chain, np.zeros(10, int), 0.4).tolist() == [True, False] * 5


def test_detections_of_an_image():
    box = jnp.array([[0, 0, 10, 10], [1, 0, 11, 10], [30, 30, 40, 40]], jnp.float32)
    scores = jnp.array([[0.9, 0.2], [0.8, 0.7], [0.0, 0.6]])
    found = detections.detected(scores, box, 0.5)
    assert found.label.tolist() == [0, 1, 1, 0, -1, -1]  # the last two are suppressed
    assert found.score[:4].tolist() == pytest.approx([0.9, 0.7, 0.6, 0.0])
    assert found.box[:4, 0].tolist() == [0, 1, 30, 30]


def assigned_by_loops(box, present, places, radius):
    found = []
    for (x, y), stride, low, high in zip(*places[:4], strict=True):
        best, area = -1, np.inf
        for i, (left, top, right, bottom) in enumerate(box):
            near = all(
                (start <= at <= end and abs(at - (start + end) / 2) <= radius * stride)
                or abs(at - (start + end) / 2) <= stride / 2
                for at, start, end in ((x, left, right), (y, top, bottom))
            )
            fits = low < max(x - left, y - top, right - x, bottom - y) <= high
            own = (right - left) * (bottom - top)
            if present[i] and fits and near and own < area:
                best, area = i, own
        found.append(best)
    return found


@pytest.mark.parametrize("strides", [(4,), (4, 8)])
def test_places_are_assigned_as_by_loops(strides):
    box = np.concatenate([some_boxes(12, side=60), [[8, 8, 9, 9], [2, 2, 58, 50]]])
    present = np.arange(14) != 3
    places = boxes.grid(48, 64, strides)
    assert len(places.centre) == sum(48 * 64 // stride**2 for stride in strides)
    found = boxes.assigned(jnp.asarray(box, jnp.float32), present, places, 1.5)
    assert found.tolist() == assigned_by_loops(box, present, places, 1.5)
    assert {*range(14)} - {3} - {*found.tolist()} == set() or len(strides) == 2


def test_the_levels_of_a_grid_cover_all_sizes():
    places = boxes.grid(512, 512, (8, 16, 32, 64, 128))
    ends = sorted({*zip(places.low.tolist(), places.high.tolist(), strict=True)})
    assert ends == [(0, 64), (64, 128), (128, 256), (256, 512), (512, np.inf)]
    assert places.centre[:2].tolist() == [[4, 4], [12, 4]]
