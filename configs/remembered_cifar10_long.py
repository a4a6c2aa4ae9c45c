"""Who memorises on CIFAR-10 in the long run: 100 epochs without augmentation, noise 0.4.

    python -m experiments.sweep --config=configs/remembered_cifar10_long.py \\
        --workdir=results/remembered_cifar10_long --data_dir=~/tensorflow_datasets
    python -m experiments.report table --workdir=results/remembered_cifar10_long --paired=superloss
    python -m experiments.report figures --workdir=results/remembered_cifar10_long

Otherwise as remembered_cifar10.py, with its settings and one seed. Five runs of about ten minutes
of one CPU core.
"""

from configs import remembered_cifar10


def get_config():
    config = remembered_cifar10.get_config()
    config.epochs = 100
    return config


def sweep():
    longest = [remembered_cifar10.CHOSEN[i] for i in (2, 1, 0, 4, 6)]
    yield from remembered_cifar10.part({"noise.rate": 0.4}, longest, 0)
