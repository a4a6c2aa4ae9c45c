"""Digits with 100 labels: the others are unknown. The quick form of semi-supervised learning.

python -m experiments.main --config=configs/semi_supervised.py --workdir=runs/digits_100
"""

import ml_collections

from configs import base


def get_config():
    config = base.get_config()
    config.task = "semi_supervised"
    config.consistency = ml_collections.ConfigDict({
        "kind": "fixmatch",  # or mean_teacher, which needs average.decay, or none
        "labelled": 16,  # examples with a label in each batch
        "weight": 1.0,  # of the mean loss of examples without a label
        "warmup_epochs": 0.0,  # epochs in which this weight rises linearly
        "threshold": 0.95,  # for fixmatch: probability from which a pseudo-label counts; 0: all
        "operations": 2,  # for fixmatch: random operations on the strong view
    })  # fmt: skip
    config.data.labelled = 100
    config.batch_size = 128
    config.noise.rate = 0.0
    config.augment.pad = 1
    config.augment.cutout = 2
    config.average.decay = 0.99
    return config


METHODS = (
    {"consistency.kind": "none", "loss.method": "cross_entropy"},
    {"consistency.kind": "fixmatch", "loss.method": "cross_entropy"},
    {"consistency.kind": "fixmatch", "loss.method": "superloss", "consistency.threshold": 0.0},
)
