"""All config keys with their meanings and defaults. The other configs start from this one.

Declare a new key in experiments/runs/identity.py as well, which says when it is read.
"""

import ml_collections
from ml_collections import config_dict

from configs import losses


def get_config():
    config = ml_collections.ConfigDict()
    config.seed = 0  # initial parameters, batch order, augmentation
    config.epochs = 60
    config.batch_size = 64
    config.devices = 0  # number of this machine's devices; 0: all
    config.vmap_seeds = 1  # number of seeds, from `seed` up, to train in one run
    config.checkpoint = ml_collections.ConfigDict(
        {"every_epochs": 0, "every_minutes": 5.0, "keep": 2}  # 0: off
    )
    config.data = ml_collections.ConfigDict({
        "name": "digits",
        "path": config_dict.placeholder(str),  # for npz: the file
        "variant": config_dict.placeholder(str),  # for human labels: which set
        "split_seed": 0,
        "validation": 0,  # number of training examples to hold out
        "validation_labels": "noisy",
        "imbalance": 1.0,  # size of the first class over size of the last
        "imbalance_exact": False,
        "exclude": config_dict.placeholder(str),  # a finished run, whose most suspect examples
        "exclude_rate": 0.0,  # are left out: this share of the training examples
        "device_budget_mb": 0.0,  # larger training sets are streamed from the host; 0: no limit
    })  # fmt: skip
    config.augment = ml_collections.ConfigDict({"pad": 0, "flip": False, "cutout": 0, "mixup": 0.0})
    config.noise = ml_collections.ConfigDict(
        {"kind": "symmetric_exclusive", "rate": 0.4, "exact": False, "seed": 0}
    )
    config.model = ml_collections.ConfigDict({
        "name": "mlp",
        "init": "flax",  # or torch
        "dtype": "float32",  # for the arithmetic; parameters and losses are float32
        "dropout": -1.0,  # -1: the model's default
        "bn_groups": 1,  # parts of the batch that BatchNorm normalises separately
    })  # fmt: skip
    config.optimizer = ml_collections.ConfigDict({
        "name": "adam",
        "learning_rate": 1e-3,
        "momentum": 0.9,  # for sgd
        "nesterov": False,
        "weight_decay": 0.0,
        "schedule": "constant",
        "warmup_epochs": 0.0,
        "boundaries": (0.0,),  # epochs; for piecewise; for cyclic, the first is a cycle's length
        "factor": 0.1,  # multiplies the learning rate there; for cyclic, over a cycle
    })  # fmt: skip
    config.report = ml_collections.ConfigDict({
        "selection": ("last",),  # declared in advance: the test scores that count, main one first
        "losses": False,  # whether to keep every training example's loss of each epoch
    })  # fmt: skip
    config.loss = losses.get_config()
    return config
