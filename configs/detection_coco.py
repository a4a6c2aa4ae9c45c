"""COCO 2017 with missing, wrong, moved and bogus boxes together: FCOS on ResNet-50, at 512.

    python -m experiments.main --config=configs/detection_coco.py --workdir=runs/coco \\
        --data_dir=DIR
    python -m experiments.sweep --config=configs/detection_coco.py --workdir=runs/coco_table \\
        --data_dir=DIR

For an accelerator; not measured. DIR has coco/2017, by `tfds build coco/2017
--file_format=array_record`. The 118,287 images take 93 GB of the host's memory. The backbone starts
from random weights.
"""

from configs import detection_voc


def get_config():
    config = detection_voc.get_config()
    config.epochs = 36
    config.data.name = "coco2017"
    config.data.boxes = 160  # with bogus ones
    return config


def sweep():
    for rate in (0.0, 0.1, 0.2, 0.4):
        names = ("noise.rate", "noise.box", "noise.missing", "noise.bogus")
        for method in ("plain", "superloss"):
            yield {"loss.method": method} | dict.fromkeys(names, rate)
