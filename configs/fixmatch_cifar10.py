"""FixMatch on CIFAR-10 at full scale, and with SuperLoss in place of its threshold.

    python -m experiments.sweep --config=configs/fixmatch_cifar10.py --workdir=results/fixmatch \\
        --data_dir=~/tensorflow_datasets

WRN-28-2, batches of 64 images with a label and 448 without, 2**20 steps of SGD (10,700 epochs),
averaged weights. Published for FixMatch: 86.19 +- 3.37 % with 40 labels, 94.93 +- 0.65 % with 250,
95.74 +- 0.05 % with 4,000 (Sohn et al., 2020). It has not been run here: the small form,
semi_supervised_cifar10.py, has. Differences from the paper: three of RandAugment's operations are
left out, the learning rate falls to 0 along a cosine, ReLU is not leaky, and BatchNorm sees images
with a label and strong views together, the teacher's crops by themselves.
"""

from configs import semi_supervised, semi_supervised_cifar10


def get_config():
    config = semi_supervised_cifar10.get_config()
    config.epochs = 10_700
    config.batch_size = 512
    config.consistency.labelled = 64
    config.model.name = "wrn28_2"
    config.optimizer.name = "sgd"
    config.optimizer.learning_rate = 0.03
    config.optimizer.nesterov = True
    config.optimizer.weight_decay = 5e-4
    config.checkpoint.every_minutes = 30.0
    return config


def sweep():
    for seed in range(3):
        for labelled in (250, 4000):
            for method in semi_supervised.methods(warmup_epochs=1000.0):
                seeds = {"seed": seed, "data.labelled_seed": seed}
                yield {"data.labelled": labelled} | method | seeds
