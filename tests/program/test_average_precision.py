"""Average precision: by hand, and by a plain definition, with ties, crowds and empty images."""

import numpy as np
import pytest

from experiments.tasks.average_precision import Found, average_precision, check_installed

pytest.importorskip("faster_coco_eval", reason="needs the extra detection: faster-coco-eval")


def padded(images):
    """Returns Found of lists of (box, label, score) by image."""
    most = max(map(len, images))
    shape = (len(images), most)
    found = Found(np.zeros((*shape, 4)), np.full(shape, -1), np.zeros(shape))
    for i, rows in enumerate(images):
        for j, row in enumerate(rows):
            for array, value in zip(found, row, strict=True):
                array[i, j] = value
    return found


def iou_of(a, b, crowd):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return both / (areas[0] if crowd else sum(areas) - both)


def plain(found, true, label, threshold):
    """Average precision of a class, image by image and detection by detection."""
    hits, total = [], 0
    for own, objects in zip(found, true, strict=True):
        objects = [(box, crowd) for box, kind, crowd in objects if kind == label]
        total += sum(not crowd for _, crowd in objects)
        taken = set()
        ranked = sorted((one for one in own if one[1] == label), key=lambda one: -one[2])
        for box, _, score in ranked[:100]:
            best, place = threshold, None
            for kind in (0, 1):  # what counts comes first
                if place is not None:
                    break
                for i, (other, crowd) in enumerate(objects):
                    free = crowd or i not in taken
                    if crowd == kind and free and iou_of(box, other, crowd) >= best:
                        best, place = iou_of(box, other, crowd), i
            if place is None:
                hits.append((score, False))
            elif not objects[place][1]:
                taken.add(place)
                hits.append((score, True))
    if not total:
        return np.nan
    hits.sort(key=lambda one: -one[0])  # stable: ties stay in the order of images
    right = np.cumsum([hit for _, hit in hits])
    precision = right / np.arange(1, len(hits) + 1)
    recall = right / total
    at = [precision[recall >= level].max(initial=0) for level in np.linspace(0, 1, 101)]
    return float(np.mean(at))


def some_images(seed):
    """Returns 20 true boxes in 6 images, two of them of a crowd, and detections with ties."""
    rng = np.random.default_rng(seed)
    true, found = [[] for _ in range(6)], [[] for _ in range(6)]
    for i in range(20):
        image = int(rng.integers(5)) if i else 3  # the last has none
        low = rng.integers(0, 60, 2)
        box = [*low, *(low + rng.integers(8, 40, 2))]
        label = int(rng.integers(2)) if i else 0
        true[image].append((box, label, int(i in (4, 11))))
        for _ in range(int(rng.integers(0, 3))):
            moved = np.array(box) + rng.integers(-4, 5, 4)
            moved[2:] = np.maximum(moved[2:], moved[:2] + 2)
            guess = label if rng.random() < 0.8 else 1 - label
            found[image].append((moved.tolist(), guess, round(float(rng.random()), 1)))
    found[5].append(([0, 0, 9, 9], 0, 0.5))
    return found, true


@pytest.mark.parametrize("seed", range(4))
def test_it_is_that_of_the_definition(seed):
    found, true = some_images(seed)
    assert sum(map(len, true)) == 20
    result = average_precision(padded(found), padded(true), ("a", "b", "none"))
    expected = [plain(found, true, label, 0.5) for label in (0, 1)]
    assert [result["ap_50_a"], result["ap_50_b"]] == pytest.approx(expected, abs=1e-9)
    assert np.isnan(result["ap_50_none"])
    assert result["map_50"] == pytest.approx(np.mean(expected), abs=1e-9)
    levels = np.linspace(0.5, 0.95, 10)
    means = [np.mean([plain(found, true, label, level) for label in (0, 1)]) for level in levels]
    assert result["map"] == pytest.approx(np.mean(means), abs=1e-9)
    assert result["map_75"] == pytest.approx(means[5], abs=1e-9)


BOX, FAR = [0, 0, 10, 10], [50, 50, 60, 60]


@pytest.mark.parametrize(
    ("found", "true", "expected"),
    [
        ([[(BOX, 0, 0.9)]], [[(BOX, 0, 0)]], 1.0),
        ([[(BOX, 0, 0.9), (BOX, 0, 0.8)]], [[(BOX, 0, 0)]], 1.0),  # a second one comes too late
        ([[(BOX, 0, 0.8), (FAR, 0, 0.9)]], [[(BOX, 0, 0)]], 0.5),  # a wrong one is first
        ([[(BOX, 0, 0.9)]], [[(BOX, 0, 0), (FAR, 0, 0)]], 51 / 101),  # recalls 0 to 0.5
        ([[([0, 0, 10, 20], 0, 0.9)]], [[(BOX, 0, 0)]], 1.0),  # an IoU of 0.5 suffices
        ([[([0, 0, 10, 21], 0, 0.9)]], [[(BOX, 0, 0)]], 0.0),
        ([[(FAR, 0, 0.9), (BOX, 0, 0.8)]], [[(BOX, 0, 0), (FAR, 0, 1)]], 1.0),  # in a crowd
        ([[(BOX, 1, 0.9)]], [[(BOX, 0, 0)]], 0.0),  # another class
        ([[]], [[(BOX, 0, 0)]], 0.0),
        ([[(BOX, 0, 0.9)]], [[]], np.nan),
        ([[]], [[]], np.nan),
    ],
)
def test_values_by_hand(found, true, expected, capsys):
    result = average_precision(padded(found), padded(true), ("a", "b"))
    assert result["ap_50_a"] == pytest.approx(expected, nan_ok=True)
    assert not any(capsys.readouterr())


def test_what_is_missing_is_told_in_a_line(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs the package faster-coco-eval: pip install -e"):
        check_installed()
