"""CIFAR-10 with 40 % wrong labels, on LeNet.

    python -m experiments.main --config=configs/cifar10.py --workdir=runs/cifar10 \
        --data_dir=~/tensorflow_datasets

50,000 training and 10,000 test images, no augmentation. Half a minute an epoch on one CPU core.
Seen after two epochs, seed 0: test accuracy 51.0 %.
"""

from configs import digits


def get_config():
    config = digits.get_config()
    config.epochs = 30
    config.batch_size = 128
    config.data.name = "cifar10"
    config.model.name = "lenet"
    return config
