"""Four settings of each method of remembered_digits.py, on digits with 40 % wrong labels.

    python -m experiments.sweep --config=configs/remembered_tuning.py \\
        --workdir=results/remembered_tuning
    python -m experiments.report choose --epoch=last --workdir=results/remembered_tuning

Settings are compared by the accuracy on noisy validation labels in the last epoch. The seeds are
none of the tables'. Cross entropy has nothing to set.
"""

from configs import rivals


def settings():
    for lam in (1.0, 0.25, 4.0):
        yield {"loss.method": "superloss", "loss.lam": lam}
    constant = {"loss.threshold": "constant", "loss.tau": 2.302585}
    yield {"loss.method": "superloss"} | constant | {"loss.lam": 0.25}
    for memory in ({}, {"loss.remembered_superloss.memory": "training"}):
        for lam, share in ((1.0, 0.2), (0.25, 0.2), (4.0, 0.2), (1.0, 0.5)):
            remembered = {"loss.method": "remembered_superloss", "loss.lam": lam}
            yield remembered | {"loss.remembered_superloss.share": share} | memory
    for lam, beta in ((3.0, 0.7), (1.0, 0.7), (7.0, 0.7), (3.0, 0.9)):
        elr = {"loss.method": "early_learning", "loss.early_learning.lam": lam}
        yield elr | {"loss.early_learning.beta": beta}
    for start, decay in ((0.2, 0.9), (0.1, 0.9), (0.4, 0.9), (0.2, 0.5)):
        self_filter = {"loss.method": "self_filter", "loss.self_filter.start": start}
        yield self_filter | {"loss.self_filter.decay": decay}
    for q in (0.7, 0.3, 0.5, 0.9):
        gce = {"loss.method": "generalized_cross_entropy"}
        yield gce | {"loss.generalized_cross_entropy.q": q}
    yield {"loss.method": "cross_entropy"}


def get_config():
    config = rivals.get_config()
    config.report.selection = ("last", "best_validation")
    return config


def sweep():
    for seed in (100, 101, 102):
        for setting in settings():
            yield setting | {"seed": seed, "noise.seed": seed, "data.split_seed": seed}
