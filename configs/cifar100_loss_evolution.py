"""Losses of easy, hard and noisy examples over epochs: CIFAR-100 at 60 % noise, WRN-28-10.

    python -m experiments.sweep --config=configs/cifar100_loss_evolution.py \
        --workdir=runs/cifar100_loss_evolution --data_dir=~/tensorflow_datasets
    python -m experiments.report figures --workdir=runs/cifar100_loss_evolution

Figure 4 of the article on SuperLoss, in which hard and noisy examples part after some 20 epochs. It
was not run: two runs of 120 epochs for an accelerator, see cifar10_table.py for what one takes.
cifar10_loss_evolution.py is small.
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
