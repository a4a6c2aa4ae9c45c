"""BCCD: 364 photographs of blood with boxes of three kinds of cells, in the published split."""

import csv

from experiments.data import sources
from experiments.data.boxed import Picture, picture

CLASSES = ("RBC", "WBC", "Platelets")
PARTS = {"train": "train", "val": "validation", "test": "test"}
COUNTS = {"train": 205, "validation": 87, "test": 72}


def load(data_dir: str | None) -> tuple[tuple[str, ...], dict[str, list[Picture]]]:
    """Reads bccd/boxes.csv: a line a box, with its image, split, class and corners."""
    table = sources.find_file("bccd/boxes.csv", data_dir, beside="bccd/JPEGImages")
    rows: dict[tuple[str, str], list] = {}
    with open(table, newline="") as file:
        for line in csv.DictReader(file):
            corners = [float(line[name]) for name in ("xmin", "ymin", "xmax", "ymax")]
            key = PARTS[line["split"]], line["image"]
            rows.setdefault(key, []).append([*corners, CLASSES.index(line["class"]), 0])
    parts: dict[str, list[Picture]] = {part: [] for part in COUNTS}
    for (part, name), boxes in rows.items():
        parts[part].append(picture(table.parent / "JPEGImages" / name, boxes, table))
    found = {part: len(of) for part, of in parts.items()}
    if found != COUNTS:
        raise ValueError(f"{table}: expected {COUNTS} images, got {found}")
    return CLASSES, parts
