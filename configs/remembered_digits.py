"""Remembered SuperLoss and five rivals on digits, at six kinds and rates of noise.

    python -m experiments.sweep --config=configs/remembered_digits.py \
        --workdir=results/remembered_digits
    python -m experiments.report table --workdir=results/remembered_digits

MLP, 60 epochs, Adam 1e-3, 3 seeds, 200 noisy validation examples: 198 runs of 3 to 12 s on one CPU
core. Every method has its defaults (configs/losses.py), and where remembered_tuning.py found a
better setting, that too.
"""

from typing import Any

from configs import rivals

METHODS = (
    "cross_entropy", "superloss", "remembered_superloss", "early_learning", "self_filter",
    "generalized_cross_entropy",
)  # fmt: skip
TUNED: tuple[dict[str, Any], ...] = (
    {"loss.method": "superloss", "loss.lam": 0.25},
    {"loss.method": "remembered_superloss", "loss.lam": 4.0},
    {"loss.method": "remembered_superloss", "loss.remembered_superloss.memory": "training"},
    {"loss.method": "self_filter", "loss.self_filter.decay": 0.5},
    {"loss.method": "generalized_cross_entropy", "loss.generalized_cross_entropy.q": 0.9},
)
NOISES: tuple[dict[str, Any], ...] = (
    *({"noise.rate": rate} for rate in (0.0, 0.2, 0.4, 0.6, 0.8)),
    {"noise.rate": 0.4, "noise.kind": "pair_flip"},
)


def get_config():
    return rivals.get_config()


def sweep():
    settings = (*({"loss.method": method} for method in METHODS), *TUNED)
    for noise in NOISES:
        for setting in settings:
            for seed in range(3):
                seeds = {"seed": seed, "noise.seed": seed, "data.split_seed": seed}
                yield noise | setting | seeds
