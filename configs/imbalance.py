"""Rare classes: CurBench's protocol at imbalance 50, LeNet on CIFAR-10, three seeds.

    python -m experiments.sweep --config=configs/imbalance.py --workdir=results/imbalance \
        --data_dir=~/tensorflow_datasets
    python -m experiments.report table --workdir=results/imbalance --paired=cross_entropy

21 runs of 12 minutes of a CPU core, of which results/curbench has those of cross entropy and
SuperLoss. Nothing is tuned.
"""

from configs import curbench

CROSS_ENTROPY = {"loss.method": "cross_entropy"}
METHODS = (
    CROSS_ENTROPY,
    {"loss.method": "superloss"},
    {"loss.method": "superloss", "loss.threshold": "per_class"},
    {"loss.method": "logit_adjustment"},
    CROSS_ENTROPY | {"curriculum.classes": "balanced"},
    CROSS_ENTROPY | {"curriculum.classes": "cosine"},
    CROSS_ENTROPY | {"curriculum.classes": "cosine", "easy_anchors.weight": 1.0},
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
