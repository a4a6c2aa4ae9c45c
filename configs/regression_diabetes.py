"""Progression of diabetes in 442 patients (scikit-learn), with wrong targets; needs no data.

    python -m experiments.main --config=configs/regression_diabetes.py --workdir=runs/diabetes
    python -m experiments.sweep --config=configs/regression_diabetes.py \\
        --workdir=results/regression_diabetes

A random fifth of the patients is the test set. 55 runs of 3 to 6 s on a CPU core. Test error at the
last epoch, 40 % permuted, 5 seeds: 56.2 +- 4.3 plain, 55.3 +- 2.2 SuperLoss, 53.7 +- 3.2 Cauchy;
more in docs/regression.md.
"""

from configs import regression


def get_config():
    config = regression.get_config()
    config.epochs = 40
    config.batch_size = 32
    config.data.name = "diabetes"
    config.optimizer.schedule = "cosine"
    return config


def sweep():
    yield from regression.table(seeds=5)
