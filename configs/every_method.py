"""Every method on digits, at 20, 40, 60 and 80 % symmetric noise and 40 % pair noise, 3 seeds.

    python -m experiments.sweep --config=configs/every_method.py --workdir=results/every_method
    python -m experiments.report table --workdir=results/every_method
    python -m experiments.report stops --workdir=results/every_method

MLP, 60 epochs, Adam 1e-3, 200 noisy validation examples: 660 runs of some two seconds on one CPU
core. Each method has one setting for all rates, its paper's (configs/losses.py), and nothing is
tuned. Told the true rate are co-teaching, JoCoR and trimmed; told the true matrix, forward and
backward correction.
"""

from typing import Any

from configs import digits, rivals

BIG = {"loss.active_passive.beta": 4.0}  # as the papers have it with these passive losses
RECENT: tuple[dict[str, Any], ...] = (
    {"loss.method": "remembered_superloss"},
    {"loss.method": "active_passive", "loss.active_passive.passive": "agce"} | BIG,
    {"loss.method": "active_passive", "loss.active_passive.passive": "aul"}
    | BIG | {"loss.active_passive.a": 6.3},
    {"loss.method": "active_passive", "loss.active_passive.passive": "ael"}
    | BIG | {"loss.active_passive.a": 5.0},
    {"loss.method": "asymmetric_gce"},
    {"loss.method": "asymmetric_unhinged"},
    {"loss.method": "asymmetric_exponential"},
    {"loss.method": "active_negative", "optimizer.l1": 5e-5},
    {"loss.method": "joint_asymmetric", "optimizer.l1": 5e-5},
    {"loss.method": "epsilon_softmax"},
    {"loss.method": "logit_clip"},
    {"loss.method": "dynamics_aware"},
    {"loss.method": "optimized_clipping"},
    {"loss.method": "label_smoothing"},
    {"loss.method": "cauchy"},
    {"loss.method": "trimmed"},
    {"loss.method": "cross_entropy", "optimizer.sam": 0.05},
    {"loss.method": "cross_entropy", "average.decay": 0.99},
)  # fmt: skip
NOISES: tuple[dict[str, Any], ...] = (
    *({"noise.rate": rate} for rate in (0.2, 0.4, 0.6, 0.8)),
    {"noise.rate": 0.4, "noise.kind": "pair_flip"},
)


def get_config():
    config = digits.get_config()
    config.data.validation = 200
    config.report.selection = ("last", "best_validation", "label_wave")
    return config


def points():
    """Yields the settings to compare, one for each row."""
    yield from rivals.points()
    yield from RECENT


def sweep():
    for noise in NOISES:
        for point in points():
            for seed in range(3):
                yield noise | point | {"seed": seed, "noise.seed": seed, "data.split_seed": seed}
