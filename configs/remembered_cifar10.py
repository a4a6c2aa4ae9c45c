"""Who memorises on CIFAR-10: remembered SuperLoss and its rivals, ConvNetSmall.

    python -m experiments.sweep --config=configs/remembered_cifar10.py \\
        --workdir=results/remembered_cifar10 --data_dir=~/tensorflow_datasets
    python -m experiments.report table --workdir=results/remembered_cifar10

12 epochs without augmentation: no noise, 0.4, and CIFAR-10N's worst labels, 3 seeds.
remembered_cifar10_augmented.py has 30 epochs with augmentation, remembered_cifar10_long.py 100
without. Each method has the setting that remembered_cifar10_tuning.py found. A run takes about 2
minutes of one CPU core.
"""

from configs import remembered_cifar10_tuning

CHOSEN = (
    {"loss.method": "cross_entropy"},
    {"loss.method": "superloss", "loss.lam": 0.25},
    {"loss.method": "remembered_superloss", "loss.lam": 0.25},
    {"loss.method": "remembered_superloss", "loss.remembered_superloss.memory": "training"},
    {"loss.method": "early_learning", "loss.early_learning.lam": 7.0},
    {"loss.method": "self_filter", "loss.self_filter.start": 0.4},
    {"loss.method": "generalized_cross_entropy", "loss.generalized_cross_entropy.q": 0.9},
)  # fmt: skip
HUMAN = {
    "data.name": "cifar10n", "data.variant": "worse", "noise.kind": "given", "noise.rate": 0.0,
}  # fmt: skip


def get_config():
    return remembered_cifar10_tuning.get_config()


def part(setup, methods, seed):
    for method in methods:
        yield method | setup | {"seed": seed, "noise.seed": seed, "data.split_seed": seed}


def sweep():
    for seed in range(3):  # outermost, so that an interrupted sweep has complete columns
        for setup in ({"noise.rate": 0.4}, HUMAN, {"noise.rate": 0.0}):
            yield from part(setup, CHOSEN, seed)
