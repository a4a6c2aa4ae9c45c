"""Every method on one data set at 40 % noise; all else is common to them.

    python -m experiments.sweep --config=configs/rivals.py --workdir=results/rivals_digits
    python -m experiments.report table --workdir=results/rivals_digits

Digits, MLP, 60 epochs, Adam 1e-3, 3 seeds, noisy validation of 200 examples: 78 runs of about 12 s
on one CPU core. Each method has its own paper's hyper-parameters (configs/losses.py); their epochs
are scaled to the run's. rivals_cifar10.py is the same on CIFAR-10.
"""

from configs import digits

METHODS = (
    "cross_entropy", "superloss", "trend_superloss", "gce", "truncated_gce", "sce", "nce_rce",
    "nce_mae", "bootstrap_soft", "bootstrap_hard", "focal", "forward", "backward",
    "self_paced_hard", "self_paced_linear", "mentornet", "data_parameters", "elr", "self_filter",
    "co_teaching", "jocor",
)  # fmt: skip


def get_config():
    config = digits.get_config()
    config.data.validation = 200
    config.report.selection = ("last", "best_validation")
    return config


def points():
    """What is compared: methods, and what else one may do with SuperLoss and data parameters."""
    for method in METHODS:
        yield {"loss.method": method}
    yield {"loss.method": "superloss", "loss.threshold": "per_class"}
    yield {"loss.method": "superloss", "loss.threshold": "windowed"}
    yield {"loss.method": "superloss", "loss.base": "gce"}
    yield {"loss.method": "data_parameters", "loss.data_parameters.kind": "both"}
    yield {"loss.method": "cross_entropy", "augment.mixup": 1.0}


def sweep():
    for point in points():
        for seed in range(3):
            yield point | {"seed": seed, "noise.seed": seed, "data.split_seed": seed}
