"""Remembered SuperLoss and its rivals on numbers: Friedman's function, permuted targets.

    python -m experiments.sweep --config=configs/remembered_regression.py \\
        --workdir=results/remembered_regression
    python -m experiments.report table --workdir=results/remembered_regression --paired=superloss

MLP, 100 epochs, 500 noisy validation targets, 3 seeds. Each method has the setting that
remembered_regression_tuning.py found. 45 runs of 6 to 15 s on one CPU core.
"""

from configs import remembered_regression_tuning

CHOSEN = (
    {"loss.method": "plain"},
    {"loss.method": "superloss", "loss.lam": 0.03},
    {"loss.method": "remembered_superloss"},
    {
        "loss.method": "remembered_superloss",
        "loss.remembered_superloss.memory": "training",
    },
    {"loss.method": "cauchy", "loss.cauchy.scale": 0.003},
)


def get_config():
    return remembered_regression_tuning.get_config()


def sweep():
    for seed in range(3):
        for rate in (0.0, 0.4, 0.8):
            for method in CHOSEN:
                seeds = {"seed": seed, "noise.seed": seed, "data.split_seed": seed}
                yield method | {"noise.rate": rate} | seeds
