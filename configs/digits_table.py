"""A small noisy-label table: cross entropy and SuperLoss on digits, noise 0 to 0.8, three seeds.

    python -m experiments.sweep --config=configs/digits_table.py --workdir=runs/digits_table
    python -m experiments.report table --workdir=runs/digits_table

30 runs of about 2 s on one CPU core. Nothing is tuned; the best epoch is selected on 200 noisy
validation labels.
"""

from configs import rivals


def get_config():
    config = rivals.get_config()
    config.report.selection = ("best_validation", "last")
    return config


def sweep():
    for rate in (0.0, 0.2, 0.4, 0.6, 0.8):
        for method in ("cross_entropy", "superloss"):
            for seed in range(3):
                seeds = {"seed": seed, "noise.seed": seed, "data.split_seed": seed}
                yield {"noise.rate": rate, "loss.method": method} | seeds
