"""Who memorises on CIFAR-10 with ResNet-18: a table of one GPU-hour, noise 0 to 0.8, three seeds.

    python -m experiments.sweep --config=configs/gpu_table.py --workdir=results/gpu_table \
        --data_dir=~/tensorflow_datasets --seconds=480
    python -m experiments.report pack --workdir=results/gpu_table
    python -m experiments.report table --workdir=results/gpu_table

The first two, repeated until the first exits with 0, are the whole: each time it begins no run that
would end after 480 seconds. Batch 512, bfloat16, SGD with Nesterov momentum, the rate rising for
five epochs and then falling to 0, 40 epochs, crop and flip; without these, cross entropy would
memorise sooner. The best epoch is selected on 5,000 noisy validation labels, and the last one says
what was memorised. Nothing is tuned here: the methods have what was found with a small network
(configs/remembered_cifar10_tuning.py). Not run yet: at the step measured on an H100
(docs/training.md) a run would take 22 s, and the 90 runs 33 minutes.
"""

import math

from configs import cifar10

METHODS = (
    {"loss.method": "cross_entropy"},
    {"loss.method": "superloss", "loss.threshold": "ema"},
    {"loss.method": "superloss", "loss.threshold": "constant"},
    {"loss.method": "remembered_superloss"},
    {"loss.method": "early_learning", "loss.early_learning.lam": 7.0},
    {"loss.method": "generalized_cross_entropy"},
)


def get_config():
    config = cifar10.get_config()
    config.epochs = 40
    config.batch_size = 512
    config.model.name = "resnet18"
    config.model.dtype = "bfloat16"
    config.optimizer.name = "sgd"
    config.optimizer.learning_rate = 0.2
    config.optimizer.nesterov = True
    config.optimizer.weight_decay = 5e-4
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_epochs = 5.0
    config.loss.lam = 0.25
    config.loss.tau = math.log(10)  # for the constant threshold
    config.report.selection = ("best_validation", "last")
    return config


def sweep():
    for seed in range(3):  # outermost, so that the first slices give whole columns
        for rate in (0.4, 0.2, 0.6, 0.0, 0.8):
            for method in METHODS:
                seeds = {"seed": seed, "noise.seed": seed, "data.split_seed": seed}
                yield {"noise.rate": rate} | method | seeds
