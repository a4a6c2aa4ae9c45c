"""Weights or learning rate? Cross entropy and SuperLoss at the two learning rates of the tuning.

    python -m experiments.sweep --config=configs/cifar_cpu_rate.py \
        --workdir=results/cifar_cpu_rate --data_dir=~/tensorflow_datasets
    python -m experiments.report table --workdir=results/cifar_cpu_rate \
        --columns=optimizer.learning_rate --paired=cross_entropy

SuperLoss gives fitted examples weights of up to e, which amounts to a higher learning rate. Hence
its gain over cross entropy at the same rate may come from that alone. 12 runs of 5 minutes on a CPU
core, at noise 0.4; six of them are also in cifar_cpu_table.py.
"""

from configs import cifar_cpu_table, cifar_cpu_tuning

METHODS = (
    {"loss.method": "cross_entropy"},
    {"loss.method": "superloss", "loss.threshold": "constant", "loss.lam": 1.0},
)


def get_config():
    return cifar_cpu_table.get_config()


def sweep():
    for seed in range(3):
        for rate in cifar_cpu_tuning.RATES:
            for method in METHODS:
                seeds = {"seed": seed, "noise.seed": seed, "data.split_seed": seed}
                yield method | {"optimizer.learning_rate": rate} | seeds
