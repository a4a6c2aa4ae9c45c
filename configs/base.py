"""Every key that a run reads, what it means, and its default: the other configs start from here.

A new key also belongs into experiments/runs/identity.py, which says when it is read.
"""

import ml_collections
from ml_collections import config_dict

from configs import losses


def get_config():
    config = ml_collections.ConfigDict()
    config.seed = 0  # initial parameters, batch order, augmentation
    config.epochs = 60
    config.batch_size = 64
    config.devices = 0  # of this machine; 0: all
    config.vmap_seeds = 1  # how many seeds, from `seed` up, to train in one run
    config.checkpoint = ml_collections.ConfigDict(
        {"every_epochs": 0, "every_minutes": 5.0, "keep": 2}  # 0: not by this measure
    )
    config.data = ml_collections.ConfigDict({
        "name": "digits",
        "path": config_dict.placeholder(str),  # of an npz file
        "variant": config_dict.placeholder(str),  # of human labels
        "split_seed": 0,
        "validation": 0,  # number of training examples set apart
        "validation_labels": "noisy",
        "imbalance": 1.0,  # how many times fewer examples the last class has than the first
        "imbalance_exact": False,
        "exclude": config_dict.placeholder(str),  # a finished run; without its most suspect
        "exclude_rate": 0.0,  # part of the training examples
        "device_budget_mb": 0.0,  # a larger training set is streamed from the host; 0: no limit
    })  # fmt: skip
    config.augment = ml_collections.ConfigDict({"pad": 0, "flip": False, "cutout": 0, "mixup": 0.0})
    config.noise = ml_collections.ConfigDict(
        {"kind": "symmetric_exclusive", "rate": 0.4, "exact": False, "seed": 0}
    )
    config.model = ml_collections.ConfigDict({
        "name": "mlp",
        "init": "flax",  # or torch
        "dtype": "float32",  # of the arithmetic; parameters and losses are float32
        "dropout": -1.0,  # -1: the model's own
        "bn_groups": 1,  # parts of the batch that BatchNorm normalises on their own
    })  # fmt: skip
    config.optimizer = ml_collections.ConfigDict({
        "name": "adam",
        "learning_rate": 1e-3,
        "momentum": 0.9,  # of sgd
        "nesterov": False,
        "weight_decay": 0.0,
        "schedule": "constant",
        "warmup_epochs": 0.0,
        "boundaries": (0.0,),  # epochs, of a piecewise schedule
        "factor": 0.1,  # of the learning rate there
    })  # fmt: skip
    config.report = ml_collections.ConfigDict({
        "selection": ("last",),  # declared: the epochs whose test accuracy counts, foremost first
        "losses": False,  # keep those of every training example, each epoch
    })  # fmt: skip
    config.loss = losses.get_config()
    return config
