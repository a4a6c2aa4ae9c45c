"""Regression on scikit-learn's diabetes, 40 % of whose targets are permuted.

python -m experiments.main --config=configs/regression_diabetes.py --workdir=runs/diabetes
"""

from configs import regression


def get_config():
    config = regression.get_config()
    config.epochs = 100
    config.batch_size = 32
    config.data.name = "diabetes"
    config.optimizer.schedule = "cosine"
    return config


def sweep():
    for rate in (0.0, 0.4):
        for method in ("plain", "superloss", "cauchy", "trimmed"):
            for seed in range(5):
                yield {
                    "noise.rate": rate,
                    "loss.method": method,
                    "seed": seed,
                    "noise.seed": seed,
                    "data.split_seed": seed,
                }
