"""Losses of easy, hard and wrong examples over epochs: ConvNetSmall on CIFAR-100 at 60 % noise.

    python -m experiments.sweep --config=configs/cifar100_loss_evolution_small.py \\
        --workdir=results/cifar100_loss_evolution_small --data_dir=~/tensorflow_datasets
    python -m experiments.report figures --workdir=results/cifar100_loss_evolution_small

The data and the noise of figure 4 of the SuperLoss article, with a network that a CPU can train;
cifar100_loss_evolution.py has its WRN-28-10. Two runs of seven minutes on a CPU core.
"""

import math

from configs import cifar10_loss_evolution


def get_config():
    config = cifar10_loss_evolution.get_config()
    config.data.name = "cifar100"
    config.loss.lam = 0.25  # as in cifar100_table.py
    config.loss.tau = math.log(100)
    return config


def sweep():
    yield from cifar10_loss_evolution.sweep()
