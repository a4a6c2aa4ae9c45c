"""The noisy-label table of CIFAR-10 for two CPU cores: ConvNetSmall, noise 0 to 0.8, three seeds.

    python -m experiments.sweep --config=configs/cifar_cpu_table.py \
        --workdir=results/cifar_cpu_table --data_dir=~/tensorflow_datasets
    python -m experiments.report table --workdir=results/cifar_cpu_table

75 runs of 5 minutes on a CPU core. Crop, flip, weight decay, SGD with a cosine, 10 epochs; best
epoch on 5,000 noisy validation labels. Each method has the best of six settings at noise 0.4,
chosen on noisy validation labels with another seed (cifar_cpu_tuning.py): the same for all rates.
"""

from configs import cifar_cpu_tuning

CHOSEN: tuple[dict, ...] = (
    {"loss.method": "cross_entropy"},
    {"loss.method": "superloss", "loss.threshold": "constant", "loss.lam": 1.0},
    {"loss.method": "gce"},
    {"loss.method": "elr"},
    {"loss.method": "self_paced_linear", "loss.self_paced_linear.threshold": 4.6},
)


def get_config():
    return cifar_cpu_tuning.get_config()


def sweep():
    for seed in range(3):  # outermost, so that a sweep that is cut short has whole columns
        for rate in (0.4, 0.0, 0.2, 0.6, 0.8):
            for method in CHOSEN:
                seeds = {"seed": seed, "noise.seed": seed, "data.split_seed": seed}
                yield {"noise.rate": rate} | method | seeds
