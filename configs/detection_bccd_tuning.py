"""What SuperLoss weighs, lam and tau, on blood cells with 40 % wrong classes.

    python -m experiments.sweep --config=configs/detection_bccd_tuning.py \\
        --workdir=results/detection_bccd_tuning --data_dir=DIR
    python -m experiments.report choose --workdir=results/detection_bccd_tuning  # docs/detection.md

Settings are compared by the average precision on the validation part with its wrong classes, at the
best epoch. The seed is none of the tables'. A run takes two minutes of two CPU cores.
"""

from configs import detection_bccd


def get_config():
    config = detection_bccd.get_config()
    config.noise.rate = 0.4
    config.report.selection = ("best_validation", "last")
    return config


def grid():
    yield {"loss.method": "plain"}
    for weighs in ("foreground", "locations", "objects"):
        for lam in (0.1, 0.3, 1.0):
            yield {"detection.weighs": weighs, "loss.lam": lam}
    for tau in (0.5, 1.4):  # 1.4: the loss of a guess among three classes and background
        for lam in (0.1, 0.3):
            yield {"loss.threshold": "constant", "loss.tau": tau, "loss.lam": lam}


def sweep():
    for point in grid():
        yield point | {"seed": 100, "noise.seed": 100}
