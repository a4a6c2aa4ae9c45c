"""DivideMix on digits with 40 % wrong labels: two networks that forget labels which look wrong.

    python -m experiments.main --config=configs/divide_mix.py --workdir=runs/divide_mix
    python -m experiments.sweep --config=configs/divide_mix.py --seeds_at_once=3 \\
        --workdir=results/divide_mix_digits
    python -m experiments.report table --workdir=results/divide_mix_digits

MLP, 60 epochs, Adam 1e-3, 200 noisy validation examples, three seeds, nothing tuned. A run of
DivideMix takes about 12 s of one CPU core, of which half is compiling, the others 3 s.
"""

import ml_collections

from configs import rivals


def get_config():
    config = rivals.get_config()
    config.task = "divide_mix"
    config.divide_mix = ml_collections.ConfigDict({  # the official code's, for CIFAR-10
        "warmup_epochs": 10.0,  # epochs of cross entropy, before labels are forgotten
        "penalise_confidence": 0.0,  # weight of the negative entropy in them; 1 if noise is
        # asymmetric
        "threshold": 0.5,  # probability of being right above which a label is kept
        "temperature": 0.5,  # of the sharpening of what images should be
        "alpha": 4.0,  # of Beta(alpha, alpha), from which the share of a mixture comes
        "weight": 25.0,  # of the mean squared error of images without a label
        "rampup_epochs": 16.0,  # epochs in which this weight rises linearly
        "prior": 1.0,  # weight of the penalty on predictions whose mean is not uniform
    })  # fmt: skip
    config.loss.method = "plain"
    return config


NOISES = (
    *({"noise.rate": rate, "noise.kind": "symmetric_exclusive"} for rate in (0.2, 0.4, 0.6, 0.8)),
    {"noise.rate": 0.4, "noise.kind": "pair_flip"},
)
RIVALS = tuple(
    {"task": "classification", "loss.method": method} for method in ("cross_entropy", "superloss")
)
ALONE = {"divide_mix.warmup_epochs": 60.0}  # two networks, and nothing but cross entropy


def sweep():
    for settings, noises in (
        ((*RIVALS, {}), NOISES),
        ((ALONE, {"loss.method": "superloss"}), (NOISES[1], NOISES[4])),
        (({"divide_mix.penalise_confidence": 1.0},), NOISES[4:]),
        (({"batch_size": 128},), NOISES),  # as many images as in a step of the official code
    ):
        for noise in noises:
            for setting in settings:
                for seed in range(3):
                    seeds = {"seed": seed, "noise.seed": seed, "data.split_seed": seed}
                    yield noise | setting | seeds
