"""What all regressions share: the keys of the task, and defaults for small sets.

`regression_diabetes.py`, `regression_mnist.py`, ... start from this.
"""

import ml_collections
from ml_collections import config_dict

from configs import base


def get_config():
    config = base.get_config()
    config.task = "regression"
    del config.augment, config.mean_teacher, config.noise.exact, config.model.init
    del config.data.variant, config.data.imbalance, config.data.imbalance_exact
    del config.data.validation_share, config.data.damaged, config.data.path_column
    config.residual = ml_collections.ConfigDict({
        "loss": "huber",  # or l1 or l2, of standardised residuals
        "delta": 1.0,  # for huber: where it becomes linear
        "truncation": 0.0,  # of the truncated error, in the target's unit; 0: a tenth of the range
    })  # fmt: skip
    config.data.examples = 0  # number of training examples, validation included; 0: all
    config.data.pattern = config_dict.placeholder(str)  # for a folder of images: a regular
    # expression whose first group, in a file's name, is the target: docs/regression.md
    config.data.side = 64  # pixels of a side that images are resized to
    config.noise.kind = "permute"  # or uniform, or given
    config.loss.base = "plain"
    config.loss.lam = 0.1  # losses of standardised targets are near 0.1
    config.loss.cauchy.scale = 0.01
    config.loss.trimmed.forget_rate = 0.4
    config.loss.self_paced.threshold = 0.1
    return config


def table(seeds: int):
    """Yields no noise, and both kinds at 0.4, for the plain loss, SuperLoss and robust losses."""
    for kind, rate in (("permute", 0.0), ("permute", 0.4), ("uniform", 0.4)):
        robust = ("cauchy", "trimmed") if rate else ("cauchy",)  # trimmed drops 40 %
        for seed in range(seeds):
            for method in ("plain", "superloss", *robust):
                yield {
                    "noise.kind": kind,
                    "noise.rate": rate,
                    "loss.method": method,
                    "seed": seed,
                    "noise.seed": seed,
                    "data.split_seed": seed,
                }
