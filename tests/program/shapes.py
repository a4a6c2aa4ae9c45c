"""A toy for detection: bright and dark squares on grey, in the form of VOC, and a tiny detector."""

import functools

import numpy as np
from PIL import Image

from configs import detection as defaults
from experiments.models import detector
from tests.program.test_detection_data import xml

SIDE, SHADES = 32, {"bright": 240, "dark": 20}
# Importing this module adds the detector, also where a sweep's config imports it.
detector.DETECTORS["tiny"] = functools.partial(detector.Small, widths=(8, 8), neck=8, towers=0)


def make(folder, number=30):
    """Writes images of one to three squares; the last image has none."""
    rng = np.random.default_rng(0)
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    for i in range(number):
        pixels = rng.integers(110, 150, (SIDE, SIDE, 3), np.uint8)
        rows = []
        for corner in rng.permutation(4)[: rng.integers(1, 4) if i + 1 < number else 0]:
            side, kind = int(rng.integers(8, 14)), str(rng.choice([*SHADES]))
            x, y = (16 * int(part) + int(rng.integers(0, 16 - side)) for part in divmod(corner, 2))
            pixels[y : y + side, x : x + side] = SHADES[kind]
            rows.append((kind, x, y, x + side, y + side, 0))
        Image.fromarray(pixels).save(folder / f"JPEGImages/{i:02d}.png")
        (folder / f"Annotations/{i:02d}.xml").write_text(xml(f"{i:02d}", rows))
    names = [f"{i:02d}" for i in range(number)]
    parts = {"val": names[:5], "test": names[5:10], "train": names[10:]}
    for part, of in parts.items():
        (folder / f"ImageSets/Main/{part}.txt").write_text("\n".join(of))
    return folder


def config_of(folder, **overrides):
    config = defaults.get_config()
    config.epochs, config.batch_size = 2, 8
    config.data.name, config.data.path = "voc_folder", str(folder)
    config.data.height = config.data.width = SIDE
    config.data.boxes, config.model.name = 6, "tiny"
    config.optimizer.learning_rate = 1e-2
    config.noise.rate = 0.3
    with config.unlocked():
        config.update_from_flattened_dict(overrides)
    return config
