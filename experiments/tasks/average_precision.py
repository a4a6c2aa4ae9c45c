"""Average precision of detections, as COCO defines it, by the package faster-coco-eval.

Of each class, detections are ranked by score, and each finds at most one object: the one that it
overlaps most, if the IoU is at least a threshold. Precision is averaged over 101 recalls. Boxes of
a crowd are neither found nor missed.
"""

import importlib.util
from typing import Any, NamedTuple

import numpy as np

MOST = 100  # detections of an image that count, as in COCO
MEANS = ("map_50", "map_75", "map")  # over classes; the last over IoUs from 0.5 to 0.95, too


class Found(NamedTuple):
    """Detections of N images, or their true boxes, padded to a fixed number."""

    box: Any  # (N, K, 4): left, top, right, bottom
    label: Any  # int, (N, K); below 0 for padding
    score: Any  # (N, K); of true boxes: 1 for those of a crowd, else 0


def check_installed() -> None:
    """Raises ValueError if the package that computes average precision is missing."""
    if importlib.util.find_spec("faster_coco_eval") is None:
        said = "detection needs the package faster-coco-eval"
        raise ValueError(f"config.task: {said}: pip install -e '.[detection]'")


def average_precision(found: Found, true: Found, class_names: tuple[str, ...]) -> dict[str, float]:
    """Returns `map_50`, `map_75`, `map` over IoUs 0.5 to 0.95, and `ap_50_CLASS` for each class.

    A class without true boxes is NaN, and does not count in the means.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    images = [{"id": i} for i in range(len(true.label))]
    categories = [{"id": i, "name": name} for i, name in enumerate(class_names)]
    truth = COCO(
        {"images": images, "categories": categories, "annotations": _rows(true, "iscrowd")}
    )
    rows = _rows(found, "score")
    if not rows:
        present = np.unique(true.label[(true.label >= 0) & (true.score == 0)])
        precision = np.full((10, len(class_names)), np.nan)
        precision[:, present] = 0
        return _named(precision, class_names)
    evaluated = COCOeval_faster(truth, truth.loadRes(rows), "bbox")
    evaluated.evaluate()
    evaluated.accumulate()
    # By IoU, recall, class, size, number of detections: of all sizes, up to 100 an image.
    precision = np.asarray(evaluated.eval["precision"])[:, :, :, 0, -1]
    return _named(np.where(precision < 0, np.nan, precision).mean(axis=1), class_names)


def _named(precision: np.ndarray, class_names: tuple[str, ...]) -> dict[str, float]:
    """Names the precisions of shape (IoUs, classes), and their means."""
    known = precision[:, ~np.isnan(precision[0])]
    mean = known.mean(axis=1) if known.size else np.full(len(precision), np.nan)
    half = {f"ap_50_{name}": float(precision[0, i]) for i, name in enumerate(class_names)}
    values = mean[0], mean[5], mean.mean()
    return dict(zip(MEANS, map(float, values), strict=True)) | half


def _rows(boxes: Found, value: str) -> list[dict[str, Any]]:
    """Returns an entry for each box, as in COCO's files, with its score or its crowd."""
    image, place = np.nonzero(np.asarray(boxes.label) >= 0)
    box, label, score = (np.asarray(part)[image, place] for part in boxes)
    size = box[:, 2:] - box[:, :2]
    corner = np.concatenate([box[:, :2], size], axis=1).astype(float).tolist()
    areas = size.prod(axis=1, dtype=float).tolist()
    columns = image.tolist(), label.tolist(), corner, areas, score.tolist()
    return [
        {"id": i, "image_id": of, "category_id": kind, "bbox": box, "area": area, "iscrowd": 0}
        | {value: number}
        for i, (of, kind, box, area, number) in enumerate(zip(*columns, strict=True), 1)
    ]
