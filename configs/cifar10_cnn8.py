"""The protocol of papers about robust losses on CIFAR-10: CNN of eight layers, last epoch.

    python -m experiments.sweep --config=configs/cifar10_cnn8.py --workdir=runs/cifar10_cnn8 \\
        --data_dir=~/tensorflow_datasets
    python -m experiments.report table --workdir=runs/cifar10_cnn8 --published

All 50,000 images, an exact number of wrong labels, 120 epochs, SGD with learning rate 0.01, cosine,
momentum 0.9, batch 128, weight decay 1e-4, gradients of norm 5 at most, crop and flip; three seeds.
From the official code of Zhou et al. (ICML 2021), which Ye et al. (2023) and Wang et al. (2024,
2025) follow; their numbers are `--published`. Active negative and joint asymmetric losses have an
L1 term in place of weight decay. SuperLoss stands in none of their tables: lam 1, an EMA.
Not run: 189 runs. A step takes 0.24 of ResNet-18's operations.
"""

from configs import cifar10

L1 = {"optimizer.l1": 5e-5, "optimizer.weight_decay": 0.0}
METHODS = (
    {"loss.method": "cross_entropy"},
    {"loss.method": "superloss"},
    {"loss.method": "remembered_superloss", "loss.remembered_superloss.memory": "training"},
    {"loss.method": "generalized_cross_entropy"},
    {"loss.method": "active_passive", "loss.active_passive.passive": "rce"},
    {"loss.method": "active_passive", "loss.active_passive.passive": "agce",
     "loss.active_passive.beta": 4.0},
    {"loss.method": "epsilon_softmax"},
    {"loss.method": "active_negative"} | L1,
    {"loss.method": "joint_asymmetric"} | L1,
)  # fmt: skip
NOISES = (
    *({"noise.kind": "symmetric_exclusive", "noise.rate": r} for r in (0.0, 0.2, 0.4, 0.6, 0.8)),
    *({"noise.kind": "asymmetric", "noise.rate": rate} for rate in (0.2, 0.4)),
)


def get_config():
    config = cifar10.get_config()
    config.epochs = 120
    config.data.validation = 0
    config.noise.exact = True
    config.model.name = "cnn8"
    config.optimizer.name = "sgd"
    config.optimizer.learning_rate = 0.01
    config.optimizer.weight_decay = 1e-4
    config.optimizer.schedule = "cosine"
    config.optimizer.clip = 5.0
    return config


def sweep():
    for seed in range(3):  # outermost, so that an interrupted sweep has complete columns
        for noise in NOISES:
            for method in METHODS:
                yield noise | method | {"seed": seed, "noise.seed": seed}
