"""The noisy-label table for ConvNetSmall on CIFAR-10, on CPU: noise 0 to 0.8, three seeds.

    python -m experiments.sweep --config=configs/cifar_cpu_table.py \
        --workdir=results/cifar_cpu_table --data_dir=~/tensorflow_datasets
    python -m experiments.report table --workdir=results/cifar_cpu_table

75 runs of 5 minutes on a CPU core. Crop, flip, weight decay, SGD with a cosine schedule, 10 epochs.
The best epoch is selected on 5,000 noisy validation labels. Each method uses one setting at all
noise rates: the best of six at noise 0.4, chosen on noisy validation labels with another seed
(cifar_cpu_tuning.py). For cross entropy, learning rate and weight decay were tuned; for the others,
their own parameters.
"""

from configs import cifar_cpu_tuning

CHOSEN = (
    {"loss.method": "cross_entropy", "optimizer.learning_rate": 0.1359},
    {"loss.method": "superloss", "loss.threshold": "constant", "loss.lam": 1.0},
    {"loss.method": "generalized_cross_entropy", "loss.generalized_cross_entropy.q": 0.2},
    {
        "loss.method": "early_learning",
        "loss.early_learning.lam": 3.0,
        "loss.early_learning.beta": 0.9,
    },
    {
        "loss.method": "self_paced",
        "loss.self_paced.weights": "linear",
        "loss.self_paced.threshold": 9.2,
        "loss.self_paced.growth": 1.1,
    },
)


def get_config():
    return cifar_cpu_tuning.get_config()


def sweep():
    for seed in range(3):  # outermost, so that an interrupted sweep has complete columns
        for rate in (0.4, 0.0, 0.2, 0.6, 0.8):
            for method in CHOSEN:
                seeds = {"seed": seed, "noise.seed": seed, "data.split_seed": seed}
                yield {"noise.rate": rate} | method | seeds
