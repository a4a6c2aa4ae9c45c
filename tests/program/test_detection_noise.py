"""Wrong boxes: classes, moved sides, missing and bogus ones."""

import numpy as np
import pytest

from experiments.data import detection_noise
from experiments.data.boxed import NONE, UNKNOWN
from experiments.data.detection_noise import Flat
from tests.program.test_detection_data import config_of


def many(number=4000):
    image = np.sort(np.random.default_rng(0).integers(0, 50, number))
    low = np.random.default_rng(1).uniform(0, 40, (number, 2))
    box = np.concatenate([low, low + np.random.default_rng(2).uniform(4, 20, (number, 2))], axis=1)
    label = np.random.default_rng(3).integers(0, 3, number).astype(np.int32)
    return Flat(image, box.astype(np.float32), label, label, np.zeros(number, bool))


def corrupted(part=0, **noise):
    wanted = config_of("bccd", **{f"noise.{name}": value for name, value in noise.items()}).noise
    return detection_noise.corrupt(many(), np.full((50, 2), 60.0), wanted, 3, part)


@pytest.mark.parametrize(
    ("kind", "rate", "wrong"),
    [("symmetric_exclusive", 0.4, 0.4), ("symmetric_inclusive", 0.6, 0.4)],
)
def test_wrong_classes(kind, rate, wrong):
    boxes, found = corrupted(kind=kind, rate=rate)
    assert np.mean(boxes.label != boxes.clean) == pytest.approx(wrong, abs=0.03)
    assert found == {"with a wrong class": np.mean(boxes.label != boxes.clean)}
    np.testing.assert_array_equal(boxes.clean, many().label)
    np.testing.assert_array_equal(boxes.box, many().box)
    moves = np.bincount(3 * boxes.clean + boxes.label, minlength=9).reshape(3, 3) / 4000
    np.testing.assert_allclose(moves[~np.eye(3, dtype=bool)], wrong / 6, atol=0.015)
    again, other, part = (corrupted(kind=kind, rate=rate, seed=0), corrupted(kind=kind, rate=rate,
                          seed=1), corrupted(1, kind=kind, rate=rate))  # fmt: skip
    np.testing.assert_array_equal(boxes.label, again[0].label)
    assert (boxes.label != other[0].label).mean() > 0.3
    assert (boxes.label != part[0].label).mean() > 0.3


def test_moved_boxes():
    boxes, found = corrupted(box=0.3)
    size = np.tile(many().box[:, 2:] - many().box[:, :2], 2)
    moved = (boxes.box - many().box) / size
    assert np.abs(moved).max() <= 0.3 + 1e-5
    inside = (boxes.box > 0) & (boxes.box < 60)  # others are cut off at the image
    assert moved[inside].std() == pytest.approx(0.3 / 3**0.5, rel=0.05)
    assert (boxes.box[:, 2:] - boxes.box[:, :2]).min() >= 1
    assert (boxes.box.min(), boxes.box.max()) == (0, 60)
    assert found["moved"] == 1
    np.testing.assert_array_equal(boxes.label, many().label)


def test_missing_and_bogus_boxes():
    boxes, found = corrupted(missing=0.25)
    assert len(boxes.label) == pytest.approx(4000 * (1 - found["missing"]))
    assert found["missing"] == pytest.approx(0.25, abs=0.03)
    more, found = corrupted(bogus=0.5)
    added = more.clean == NONE
    assert added.mean() == pytest.approx(1 / 3, abs=0.02)
    assert found["bogus for each"] == added.sum() / 4000
    np.testing.assert_array_equal(more.box[~added], many().box)
    assert (np.diff(more.image) >= 0).all()
    sizes = {*np.round(many().box[:, 2] - many().box[:, 0], 3).tolist()}
    own = np.round(more.box[added, 2] - more.box[added, 0], 3)
    assert np.mean([one in sizes for one in own.tolist()]) > 0.95  # sizes of other boxes
    assert (more.box.min() >= 0, more.box.max() <= 60) == (True, True)
    np.testing.assert_allclose(np.bincount(more.label[added]) / added.sum(), 1 / 3, atol=0.05)


def test_given_noise_is_not_known():
    boxes, found = corrupted(kind="given")
    assert ({*boxes.clean.tolist()}, found) == ({UNKNOWN}, {})
