"""The tuning behind cifar_cpu_table.py: six settings for each method, at noise 0.4 only.

    python -m experiments.sweep --config=configs/cifar_cpu_tuning.py \
        --workdir=results/cifar_cpu_tuning --data_dir=~/tensorflow_datasets
    python -m experiments.report choose --workdir=results/cifar_cpu_tuning

The best setting by accuracy on noisy validation labels is used for all noise rates. This needs no
clean labels. The seed is not one of the table's. 30 runs of 6 minutes on a CPU core.
"""

import math

from configs import cifar10

# SuperLoss gives fitted examples weights of up to e, which amounts to a higher learning rate.
RATES = (0.05, round(0.05 * math.e, 4))


def get_config():
    config = cifar10.get_config()
    config.epochs = 10
    config.model.name = "convnet_small"
    config.optimizer.name = "sgd"
    config.optimizer.nesterov = True
    config.optimizer.learning_rate = RATES[0]
    config.optimizer.weight_decay = 5e-4
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_epochs = 0.5
    config.loss.tau = math.log(10)  # for the constant threshold
    config.report.selection = ("best_validation", "last")
    return config


def grid():
    for rate in RATES:
        for weight_decay in (2.5e-4, 5e-4, 1e-3):
            yield {
                "loss.method": "cross_entropy",
                "optimizer.learning_rate": rate,
                "optimizer.weight_decay": weight_decay,
            }
    for threshold in ("constant", "ema"):
        for lam in (0.1, 0.25, 1.0):
            yield {"loss.method": "superloss", "loss.threshold": threshold, "loss.lam": lam}
    for q in (0.2, 0.4, 0.5, 0.6, 0.7, 0.8):
        yield {"loss.method": "generalized_cross_entropy", "loss.generalized_cross_entropy.q": q}
    for lam in (1.0, 3.0, 7.0):
        for beta in (0.7, 0.9):
            yield {
                "loss.method": "early_learning",
                "loss.early_learning.lam": lam,
                "loss.early_learning.beta": beta,
            }
    for start in (2.3, 4.6, 9.2):
        for growth in (1.1, 1.3):
            yield {
                "loss.method": "self_paced",
                "loss.self_paced.weights": "linear",
                "loss.self_paced.threshold": start,
                "loss.self_paced.growth": growth,
            }


def sweep():
    for point in grid():
        yield point | {"seed": 100, "noise.seed": 100, "data.split_seed": 100}
