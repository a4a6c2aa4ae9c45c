"""All config keys with their meanings and defaults. The other configs start from this one.

Declare a new key in experiments/runs/reads.py as well, which says when it is read.
"""

import ml_collections
from ml_collections import config_dict

from configs import losses


def get_config():
    config = ml_collections.ConfigDict()
    config.seed = 0  # initial parameters, batch order, augmentation
    config.epochs = 60  # times that each training example is seen
    config.batch_size = 64  # examples of a step, over all devices
    config.devices = 0  # number of this machine's devices; 0: all
    config.vmap_seeds = 1  # number of seeds, from `seed` up, to train in one run
    config.checkpoint = ml_collections.ConfigDict({
        "every_epochs": 0,  # epochs between two checkpoints; 0: off
        "every_minutes": 5.0,  # minutes between two checkpoints; 0: off
        "keep": 2,  # number of checkpoints that stay
    })  # fmt: skip
    config.data = ml_collections.ConfigDict({
        "name": "digits",  # or cifar10, folder, table, npz, ...: docs/data.md
        "path": config_dict.placeholder(str),  # of your own data: the folder, or the file
        "label_column": config_dict.placeholder(str),  # of a table; none: as docs/data.md says
        "path_column": config_dict.placeholder(str),  # of its images; none: found by their names
        "side": 0,  # pixels of a side that your images are resized to; 0: chosen from them
        "damaged": "stop",  # or leave_out, for images of yours that cannot be read
        "variant": config_dict.placeholder(str),  # for human labels: which set
        "split_seed": 0,  # which examples are held out; of digits, for the test, too
        "validation": 0,  # number of training examples to hold out
        "validation_share": 0.0,  # or the share of each class
        "folds": 0,  # or one of so many equal parts, by class
        "fold": 0,  # which of them
        "validation_labels": "noisy",  # or clean
        "imbalance": 1.0,  # size of the first class over size of the last
        "imbalance_exact": False,  # exact sizes of the classes, instead of expected ones
        "labelled": 0,  # labels of the training set that stay, as many of each class; 0: all
        "labelled_seed": 0,  # which labels stay
        "corrections": config_dict.placeholder(str),  # a CSV file of labels to use instead
        "noise_matrix": config_dict.placeholder(str),  # a CSV file, for forward_correction
        "exclude": config_dict.placeholder(str),  # directory of a finished run: its most suspect
        # examples are left out
        "exclude_rate": 0.0,  # share of the training examples that `exclude` leaves out
        "device_budget_mb": 0.0,  # larger training sets are streamed from the host; 0: no limit
        "decode": "auto",  # your images: into memory; or files: each time that a batch needs them
        "workers": 0,  # threads that decode images from files; 0: one for each core
    })  # fmt: skip
    config.curriculum = ml_collections.ConfigDict({
        "difficulty": config_dict.placeholder(str),  # a finished run's directory, or a CSV file of
        # index and difficulty: the easiest training examples first; {seed} in it is the run's;
        # none: no curriculum
        "hardest_first": False,  # or the hardest
        "pacing": "linear",  # of the share that takes part; or root, exponential, baby_steps,
        # single_step
        "start": 0.2,  # that share in the first epoch
        "end": 0.5,  # share of the epochs after which all examples take part
        "steps": 5,  # how many times the share grows, for exponential and baby_steps
        "balanced": True,  # the same share of each class
        "classes": "given",  # how often each is drawn: as in the data; balanced; or from one to
        # the other: linear, cosine, exponential, composite
    })  # fmt: skip
    config.easy_anchors = ml_collections.ConfigDict({
        "weight": 0.0,  # of the loss of triplets with easy anchors, for rare classes; 0: none
        "margin": 0.2,  # between features of length 1
        "number": 5,  # of each class: easy, hard, and of other classes
        "end": 0.3,  # share of the epochs in which the weight falls
        "rest": 0.01,  # of the weight, throughout
    })  # fmt: skip
    config.augment = ml_collections.ConfigDict({
        "pad": 0,  # pixels of margin for random crops
        "flip": False,  # mirror half of the images
        "cutout": 0,  # side of a square of pixels that is set to the mean
        "mixup": 0.0,  # alpha of mixup; 0: off
    })  # fmt: skip
    config.noise = ml_collections.ConfigDict({
        "kind": "symmetric_exclusive",  # or another: docs/data.md
        "rate": 0.4,  # share of the training labels that are made wrong
        "exact": False,  # an exact number of wrong labels, instead of an expected one
        "seed": 0,  # which labels are made wrong
    })  # fmt: skip
    config.model = ml_collections.ConfigDict({
        "name": "mlp",  # or another: docs/training.md
        "init": "flax",  # or torch
        "dtype": "float32",  # or bfloat16, for the arithmetic; parameters and losses are float32
        "dropout": -1.0,  # rate of dropout; -1: the model's default
        "bn_groups": 1,  # parts of the batch that BatchNorm normalises separately
    })  # fmt: skip
    config.optimizer = ml_collections.ConfigDict({
        "name": "adam",  # or adamw, sgd
        "learning_rate": 1e-3,  # the largest one, where it changes
        "momentum": 0.9,  # for sgd
        "nesterov": False,  # for sgd
        "weight_decay": 0.0,  # times the parameters, added to the gradient; adamw: to the step
        "sam": 0.0,  # radius of sharpness-aware minimization, two gradients a step; 0: off
        "clip": 0.0,  # largest norm of the gradient of all parameters; 0: any
        "l1": 0.0,  # times the parameters' signs, added to the gradient
        "schedule": "constant",  # of the learning rate; or cosine, piecewise, cyclic
        "warmup_epochs": 0.0,  # epochs in which the learning rate rises linearly
        "boundaries": (0.0,),  # epochs; for piecewise; for cyclic, the first is a cycle's length
        "factor": 0.1,  # multiplies the learning rate there; for cyclic, over a cycle
    })  # fmt: skip
    config.average = ml_collections.ConfigDict({
        "decay": 0.0,  # of a moving average of the weights, which is evaluated; 0: none
    })  # fmt: skip
    config.mean_teacher = ml_collections.ConfigDict({
        "weight": 0.0,  # of the loss of consistency with these averaged weights; 0: no teacher
        "warmup_epochs": 0.0,  # epochs in which this weight rises linearly
    })  # fmt: skip
    config.report = ml_collections.ConfigDict({
        "selection": ("last",),  # declared in advance: the test scores that count, main one first
        "losses": False,  # whether to keep every training example's loss of each epoch
        "logger": "",  # or tensorboard, wandb: where each epoch's metrics go, too
    })  # fmt: skip
    config.loss = losses.get_config()
    return config
