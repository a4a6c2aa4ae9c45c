"""All methods with LeNet on CIFAR-10 at 40 % noise: 30 epochs, one seed.

    python -m experiments.sweep --config=configs/rivals_cifar10.py \
        --workdir=results/rivals_cifar10 --data_dir=~/tensorflow_datasets
    python -m experiments.report table --workdir=results/rivals_cifar10

26 runs of 5 to 36 minutes on one CPU core, half of them under 9, on a machine that also did other
work. Adam 1e-3, batch 128, crop and flip, 45,000 / 5,000 (noisy) / 10,000 images.
"""

from configs import cifar10, rivals


def get_config():
    config = cifar10.get_config()
    config.report.selection = ("last", "best_validation")
    for method in ("co_teaching", "jocor"):
        config.loss[method].forget_rate = 0.4
    return config


def sweep():
    yield from rivals.points()
