"""LeNet on CIFAR-10 with 40 % wrong labels, crops and flips.

    python -m experiments.main --config=configs/cifar10.py --workdir=runs/cifar10 \
        --data_dir=~/tensorflow_datasets

45,000 training, 5,000 (noisy) validation and 10,000 test images.
"""

from configs import digits


def get_config():
    config = digits.get_config()
    config.epochs = 30
    config.batch_size = 128
    config.data.name = "cifar10"
    config.data.validation = 5000
    config.augment.pad = 4
    config.augment.flip = True
    config.model.name = "lenet"
    return config
