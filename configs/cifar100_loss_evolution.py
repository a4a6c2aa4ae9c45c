"""Losses of easy, hard and noisy examples over epochs, for WRN-28-10 on CIFAR-100 at 60 % noise.

    python -m experiments.sweep --config=configs/cifar100_loss_evolution.py \
        --workdir=runs/cifar100_loss_evolution --data_dir=~/tensorflow_datasets
    python -m experiments.report figures --workdir=runs/cifar100_loss_evolution

This is figure 4 of the SuperLoss article, where hard and noisy examples separate after some 20
epochs. We have not run it: it takes two runs of 120 epochs on an accelerator (cifar10_table.py says
how long one takes). cifar10_loss_evolution.py is a small version.
"""

from configs import cifar10_loss_evolution, cifar100_table


def get_config():
    config = cifar100_table.get_config()
    config.noise.rate = 0.6
    config.loss.threshold = "constant"
    config.report.losses = True
    return config


def sweep():
    yield from cifar10_loss_evolution.sweep()
