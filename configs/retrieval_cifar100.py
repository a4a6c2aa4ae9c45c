"""CIFAR-100 by classes: 50 to train, with wrong identities, and the 50 others to test.

    python -m experiments.main --config=configs/retrieval_cifar100.py --workdir=runs/cifar100 \\
        --data_dir=DIR
    python -m experiments.sweep --config=configs/retrieval_cifar100.py \\
        --workdir=results/retrieval_cifar100 --data_dir=DIR

The 25,000 training images of the first 50 fine classes, and as queries and gallery the 5,000 test
images of the others. Batches are of 32 classes times 4; 10 epochs are 1,960 steps. lam is that of
Omniglot: nothing was chosen here.
"""

from configs import retrieval, retrieval_omniglot


def get_config():
    config = retrieval.get_config()
    config.epochs = 10
    config.batch_size = 128
    config.data.name = "cifar100"
    config.augment.pad = 4
    config.augment.flip = True
    config.model.name = "convnet_small"
    return config


def sweep():
    for seed in range(3):
        for setting in retrieval_omniglot.SETTINGS:
            yield setting | {"seed": seed, "noise.seed": seed}
