"""Who memorises on CIFAR-10 with crop, flip and weight decay: 30 epochs, ConvNetSmall.

    python -m experiments.sweep --config=configs/remembered_cifar10_augmented.py \\
        --workdir=results/remembered_cifar10_augmented --data_dir=~/tensorflow_datasets
    python -m experiments.report table --workdir=results/remembered_cifar10_augmented

No noise and 0.4; one seed, and three for the first three methods. Each has the setting that
remembered_cifar10_tuning.py found without augmentation. A run takes about 4 minutes of one CPU
core.
"""

from configs import remembered_cifar10


def get_config():
    config = remembered_cifar10.get_config()
    config.epochs = 30
    config.augment.pad = 4
    config.augment.flip = True
    config.optimizer.weight_decay = 5e-4
    return config


def sweep():
    for seed in range(3):
        methods = remembered_cifar10.CHOSEN if seed == 0 else remembered_cifar10.CHOSEN[:3]
        for rate in (0.4, 0.0):
            yield from remembered_cifar10.part({"noise.rate": rate}, methods, seed)
