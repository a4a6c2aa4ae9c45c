"""When does SuperLoss help? Threshold, lam, augmentation and weight decay at 40 % noise.

    python -m experiments.sweep --config=configs/when_it_helps.py --workdir=results/when_it_helps \
        --data_dir=~/tensorflow_datasets
    python -m experiments.report table --workdir=results/when_it_helps \
        --columns=augment.pad,augment.flip,optimizer.weight_decay

ConvNetSmall on CIFAR-10, Adam 1e-3 with a cosine schedule, 12 epochs, one seed. Without
augmentation and weight decay, the network can fit every wrong label. 20 runs of 5 minutes on a CPU
core.
"""

import math

from configs import cifar10

METHODS = (
    {"loss.method": "cross_entropy"},
    {"loss.method": "superloss", "loss.threshold": "ema", "loss.lam": 1.0},
    {"loss.method": "superloss", "loss.threshold": "ema", "loss.lam": 0.25},
    {"loss.method": "superloss", "loss.threshold": "constant", "loss.lam": 1.0},
    {"loss.method": "superloss", "loss.threshold": "constant", "loss.lam": 0.25},
)


def get_config():
    config = cifar10.get_config()
    config.epochs = 12
    config.model.name = "convnet_small"
    config.optimizer.schedule = "cosine"
    config.loss.tau = math.log(10)  # for the constant threshold
    config.report.selection = ("last", "best_validation")
    return config


def sweep():
    for pad, flip in ((0, False), (4, True)):
        for weight_decay in (0.0, 5e-4):
            for method in METHODS:
                yield method | {
                    "augment.pad": pad,
                    "augment.flip": flip,
                    "optimizer.weight_decay": weight_decay,
                }
