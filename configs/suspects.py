"""Which score finds wrong labels, and at which epoch: four methods on digits at 40 % noise.

    python -m experiments.sweep --config=configs/suspects.py --workdir=results/suspects_digits
    python -m experiments.report detectors --workdir=results/suspects_digits

An MLP, 60 epochs, which memorise many wrong labels, 100 noisy validation examples, 3 seeds: 12 runs
of about 12 s on one CPU core.
"""

from configs import digits

METHODS = ("cross_entropy", "superloss", "early_learning", "self_filter")


def get_config():
    config = digits.get_config()
    config.data.validation = 100
    config.report.selection = ("best_validation", "last")
    return config


def sweep():
    for method in METHODS:
        for seed in range(3):
            yield {"loss.method": method, "seed": seed, "noise.seed": seed, "data.split_seed": seed}
