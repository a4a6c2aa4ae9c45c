"""Losses of easy, hard and noisy examples over epochs, for ConvNetSmall on CIFAR-10 at 60 % noise.

    python -m experiments.sweep --config=configs/cifar10_loss_evolution.py \
        --workdir=results/cifar10_loss_evolution --data_dir=~/tensorflow_datasets
    python -m experiments.report figures --workdir=results/cifar10_loss_evolution

This is a small version of figure 4 of the SuperLoss article, which uses CIFAR-100
(cifar100_loss_evolution.py). Two runs of 15 minutes on a CPU core; each stores 180 kB of losses per
epoch.
"""

import math

from configs import cifar10


def get_config():
    config = cifar10.get_config()
    config.epochs = 30
    config.model.name = "convnet_small"
    config.noise.rate = 0.6
    config.optimizer.schedule = "cosine"
    config.loss.threshold = "constant"
    config.loss.tau = math.log(10)
    config.report.losses = True
    return config


def sweep():
    for method in ("superloss", "cross_entropy"):
        yield {"loss.method": method}
