"""Rare classes: CurBench's protocol at imbalance 50, LeNet on CIFAR-10, three seeds.

    python -m experiments.sweep --config=configs/imbalance.py --workdir=results/imbalance \
        --data_dir=~/tensorflow_datasets
"""

from configs import curbench

METHODS = (
    {"loss.method": "cross_entropy"},
    {"loss.method": "superloss"},
    {"loss.method": "superloss", "loss.threshold": "per_class"},
)


def get_config():
    config = curbench.get_config()
    config.data.name = "cifar10"
    config.model.name = "lenet"
    config.noise.rate = 0.0
    config.data.imbalance = 50.0
    return config


def sweep():
    for seed in (42, 666, 777):
        for method in METHODS:
            yield method | {"seed": seed, "noise.seed": seed, "data.split_seed": seed}
