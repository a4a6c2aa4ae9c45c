"""Which threshold for pseudo-labels: digits with 100 labels, 200 validation labels, two seeds.

    python -m experiments.sweep --config=configs/semi_supervised_tuning.py \\
        --workdir=results/semi_supervised_tuning
    python -m experiments.report choose --workdir=results/semi_supervised_tuning

24 runs of 4 to 8 s of one CPU core. semi_supervised.py takes tau and lam of SuperLoss that are
among the best here, with other seeds, and FixMatch's published threshold.
"""

from configs import semi_supervised


def get_config():
    config = semi_supervised.get_config()
    config.data.validation = 200
    config.report.selection = ("last",)
    return config


def sweep():
    superloss = {
        "loss.method": "superloss",
        "consistency.threshold": 0.0,
        "consistency.warmup_epochs": 30.0,
    }
    for seed in (100, 101):
        seeds = {"seed": seed, "data.labelled_seed": seed, "data.split_seed": seed}
        for sure in (0.95, 0.8):
            yield {"consistency.threshold": sure} | seeds
        yield {"consistency.kind": "none"} | seeds
        yield semi_supervised.MEAN_TEACHER | seeds
        for lam in (0.03, 0.1, 0.3, 1.0):
            for threshold in ("ema", "constant"):
                yield superloss | {"loss.threshold": threshold, "loss.lam": lam} | seeds
