"""What all detections share: the keys of the task, and defaults for a small set.

`detection_bccd.py`, `detection_voc.py`, ... start from this.
"""

import ml_collections
from ml_collections import config_dict

from configs import base


def get_config():
    config = base.get_config()
    config.task = "detection"
    del config.augment.pad, config.augment.cutout, config.augment.mixup  # of classification
    del config.mean_teacher, config.noise.exact, config.model.init, config.model.dropout
    del config.data.variant, config.data.imbalance, config.data.imbalance_exact
    del config.data.labelled, config.data.labelled_seed, config.data.exclude
    del config.data.exclude_rate, config.data.label_column, config.data.path_column
    config.data.name = "bccd"  # or voc2007, coco2017, voc_folder, ...: docs/detection.md
    config.data.height = 120  # pixels of the images, which are resized to fit in
    config.data.width = 160  # the same
    config.data.boxes = 32  # room for boxes: the most that an image may have
    config.data.test_path = config_dict.placeholder(str)  # for coco_json: a second file, the test
    config.augment.flip = True
    config.noise.rate = 0.0  # share of the boxes whose class is made wrong
    config.noise.box = 0.0  # how far each side moves at most, as a share of width or height
    config.noise.missing = 0.0  # share of the boxes that are left out
    config.noise.bogus = 0.0  # boxes without an object, for each box
    config.model.name = "detector_small"
    config.detection = ml_collections.ConfigDict({
        "classes": "cross_entropy",  # over classes and background; or focal
        "boxes": "iou",  # or giou: 1 minus it is the loss of a box
        "box_weight": 1.0,  # of the loss of boxes, beside that of classes
        "weighs": "foreground",  # what the method weighs: or locations, or objects
        "radius": 1.5,  # how near the middle of an object a place is that finds it, in strides
        "suppression": 0.5,  # IoU from which a box is dropped for a better one of its class
    })  # fmt: skip
    config.loss.base = "plain"
    return config
