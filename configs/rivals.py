"""Every method on one data set at 40 % noise; all else is common to them.

    python -m experiments.sweep --config=configs/rivals.py --workdir=results/rivals_digits
    python -m experiments.report table --workdir=results/rivals_digits

Digits, MLP, 60 epochs, Adam 1e-3, 3 seeds, noisy validation of 200 examples: 78 runs of about 12 s
on one CPU core. Each method has its own paper's hyper-parameters (configs/losses.py); their epochs
are scaled to the run's. rivals_cifar10.py is the same on CIFAR-10.
"""

from configs import digits

METHODS = (
    "cross_entropy", "superloss", "trend_superloss", "generalized_cross_entropy", "truncated_gce",
    "symmetric_cross_entropy", "active_passive", "bootstrap", "focal", "forward_correction",
    "backward_correction", "self_paced", "mentornet", "data_parameters", "early_learning",
    "self_filter", "co_teaching", "jocor",
)  # fmt: skip
FORMS = (  # that are not the default
    {"loss.method": "active_passive", "loss.active_passive.passive": "mae"},
    {"loss.method": "bootstrap", "loss.bootstrap.hard": True, "loss.bootstrap.beta": 0.8},
    {"loss.method": "self_paced", "loss.self_paced.weights": "linear"},
    {"loss.method": "superloss", "loss.threshold": "per_class"},
    {"loss.method": "superloss", "loss.threshold": "windowed"},
    {"loss.method": "superloss", "loss.base": "generalized_cross_entropy"},
    {"loss.method": "data_parameters", "loss.data_parameters.kind": "both"},
    {"loss.method": "cross_entropy", "augment.mixup": 1.0},
)


def get_config():
    config = digits.get_config()
    config.data.validation = 200
    config.report.selection = ("last", "best_validation")
    return config


def points():
    """What is compared: methods, and what else one may do with SuperLoss and data parameters."""
    for method in METHODS:
        yield {"loss.method": method}
    yield from FORMS


def sweep():
    for point in points():
        for seed in range(3):
            yield point | {"seed": seed, "noise.seed": seed, "data.split_seed": seed}
