"""Four settings of each method of remembered_regression.py, 40 % of the targets permuted.

    python -m experiments.sweep --config=configs/remembered_regression_tuning.py \\
        --workdir=results/remembered_regression_tuning
    python -m experiments.report choose --epoch=last --workdir=results/remembered_regression_tuning

Friedman's function, MLP, 100 epochs. Settings are compared by the error on 500 noisy validation
targets in the last epoch. The seeds are none of the table's. The plain loss has nothing to set.
"""

from configs import regression

SIZES = (0.03, 0.1, 0.3, 1.0)


def settings():
    yield {"loss.method": "plain"}
    for lam in SIZES:
        yield {"loss.method": "superloss", "loss.lam": lam}
    for lam in SIZES:
        yield {"loss.method": "remembered_superloss", "loss.lam": lam}
    for scale in (0.003, 0.01, 0.03, 0.1):
        yield {"loss.method": "cauchy", "loss.cauchy.scale": scale}


def get_config():
    config = regression.get_config()
    config.epochs = 100
    config.data.name = "friedman"
    config.data.validation = 500
    config.noise.rate = 0.4
    config.report.selection = ("last", "best_validation")
    return config


def sweep():
    for seed in (100, 101, 102):
        for setting in settings():
            yield setting | {"seed": seed, "noise.seed": seed, "data.split_seed": seed}
