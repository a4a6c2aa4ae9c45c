"""CIFAR-10 with 4,000 labels, or with 25,000 of which 40 % are wrong: a small network, on a CPU.

    python -m experiments.main --config=configs/semi_supervised_cifar10.py \\
        --workdir=runs/cifar10_4000 --data_dir=~/tensorflow_datasets
    python -m experiments.sweep --config=configs/semi_supervised_cifar10.py \\
        --workdir=results/semi_supervised_cifar10 --data_dir=~/tensorflow_datasets

ConvNetSmall, batches of 128, 20 epochs (7,820 steps), tau and lam as for digits. A run takes 2 to
13 minutes of a CPU core that others use, too. With 4,000 labels: 58.7 % alone, 59.7 FixMatch, 61.7
SuperLoss (docs/semi_supervised.md). fixmatch_cifar10.py has the published setup.
"""

from configs import semi_supervised


def get_config():
    config = semi_supervised.get_config()
    config.data.name = "cifar10"
    config.data.labelled = 4000
    config.epochs = 20
    config.consistency.labelled = 32
    config.model.name = "convnet_small"
    config.augment.pad = 4
    config.augment.flip = True
    config.augment.cutout = 16
    config.optimizer.schedule = "cosine"
    config.average.decay = 0.999
    return config


def sweep():
    right = {"noise.rate": 0.0, "data.labelled": 4000, "consistency.labelled": 32}
    wrong = {"noise.rate": 0.4, "data.labelled": 25_000, "consistency.labelled": 64}
    for seed in range(3):
        seeds = {"seed": seed, "noise.seed": seed, "data.labelled_seed": seed}
        for method in semi_supervised.methods(warmup_epochs=10.0):
            yield right | method | seeds
        for method in (*semi_supervised.methods(warmup_epochs=10.0), semi_supervised.ALONE):
            yield wrong | method | seeds
