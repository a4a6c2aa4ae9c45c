"""Four settings of each method of remembered_cifar10.py: un-augmented, 40 % wrong labels.

    python -m experiments.sweep --config=configs/remembered_cifar10_tuning.py \\
        --workdir=results/remembered_cifar10_tuning --data_dir=~/tensorflow_datasets
    python -m experiments.report choose --epoch=last --workdir=results/remembered_cifar10_tuning

ConvNetSmall, 12 epochs, Adam 1e-3. Settings are compared by the accuracy on 5,000 noisy validation
labels in the last epoch. The seed is none of the table's.
"""

from configs import cifar10, remembered_tuning


def get_config():
    config = cifar10.get_config()
    config.model.name = "convnet_small"
    config.epochs = 12
    config.augment.pad = 0
    config.augment.flip = False
    config.report.selection = ("last", "best_validation")
    return config


def sweep():
    for setting in remembered_tuning.settings():
        yield setting | {"seed": 100, "noise.seed": 100, "data.split_seed": 100}
