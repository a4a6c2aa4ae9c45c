"""CIFAR-10 with most labels unknown, some of the others wrong: a small network, on a CPU.

    python -m experiments.main --config=configs/semi_supervised_cifar10.py \\
        --workdir=runs/cifar10_4000 --data_dir=~/tensorflow_datasets
    python -m experiments.sweep --config=configs/semi_supervised_cifar10.py \\
        --workdir=results/semi_supervised_cifar10 --data_dir=~/tensorflow_datasets
"""

from configs import semi_supervised


def get_config():
    config = semi_supervised.get_config()
    config.data.name = "cifar10"
    config.data.labelled = 4000
    config.epochs = 20
    config.batch_size = 256
    config.consistency.labelled = 32
    config.model.name = "convnet_small"
    config.augment.pad = 4
    config.augment.flip = True
    config.augment.cutout = 16
    config.optimizer.schedule = "cosine"
    config.average.decay = 0.999
    return config
