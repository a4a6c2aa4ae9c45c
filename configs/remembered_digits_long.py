"""Who memorises in the long run: digits at 40 % noise, 240 epochs, three seeds.

    python -m experiments.sweep --config=configs/remembered_digits_long.py \\
        --workdir=results/remembered_digits_long
    python -m experiments.report table --workdir=results/remembered_digits_long
    python -m experiments.report figures --workdir=results/remembered_digits_long --output=DIR

Each method has the setting that remembered_tuning.py found, and remembered SuperLoss its defaults
too. The figure `memory` shows the wrong
labels that are fitted, and the memory g. 24 runs of 10 to 40 s on one CPU core.
"""

from configs import remembered_digits


def get_config():
    config = remembered_digits.get_config()
    config.epochs = 240
    return config


def sweep():
    settings = ("cross_entropy", "early_learning", "remembered_superloss")
    for setting in (*({"loss.method": method} for method in settings), *remembered_digits.TUNED):
        for seed in range(3):
            yield setting | {"seed": seed, "noise.seed": seed, "data.split_seed": seed}
