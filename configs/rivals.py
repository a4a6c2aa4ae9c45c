"""Eighteen methods on one data set at 40 % noise, with the same setup otherwise.

    python -m experiments.sweep --config=configs/rivals.py --workdir=results/rivals_digits
    python -m experiments.report table --workdir=results/rivals_digits

Digits, MLP, 60 epochs, Adam 1e-3, 3 seeds, 200 noisy validation examples: 78 runs of about 12 s on
one CPU core. Each method uses its paper's hyperparameters (configs/losses.py), with durations
scaled to this run. rivals_cifar10.py does the same on CIFAR-10.
"""

from configs import digits

METHODS = (
    "cross_entropy", "superloss", "trend_superloss", "generalized_cross_entropy", "truncated_gce",
    "symmetric_cross_entropy", "active_passive", "bootstrap", "focal", "forward_correction",
    "backward_correction", "self_paced", "mentornet", "data_parameters", "early_learning",
    "self_filter", "co_teaching", "jocor",
)  # fmt: skip
FORMS = (  # other settings than the defaults
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
    for method in ("co_teaching", "jocor"):
        config.loss[method].forget_rate = 0.4
    return config


def points():
    """Yields the settings to compare: every method, then other forms of some methods, and mixup."""
    for method in METHODS:
        yield {"loss.method": method}
    yield from FORMS


def sweep():
    for point in points():
        for seed in range(3):
            yield point | {"seed": seed, "noise.seed": seed, "data.split_seed": seed}
