"""CurBench's protocol for LeNet on CIFAR-10 at 40 % noise (Yuwei Zhou et al., ICML 2024).

    python -m experiments.main --config=configs/curbench_lenet.py --workdir=runs/curbench_lenet \
        --data_dir=~/tensorflow_datasets [--config.loss.method=cross_entropy]

Adam 1e-4 constant, batch 50, 200 epochs, crop and flip, PyTorch's initial weights, 45,000 / 5,000 /
10,000 images, clean validation labels; SuperLoss with the EMA of 0.9 and lam 1. Published, test
accuracy at the best validation epoch, mean and standard deviation of five seeds: cross entropy
65.02 +- 1.12 %, SuperLoss 65.93 +- 0.57 %.
"""

from configs import cifar10


def get_config():
    config = cifar10.get_config()
    config.seed = 42
    config.epochs = 200
    config.batch_size = 50
    config.data.validation_labels = "clean"
    config.noise.seed = 42
    config.data.split_seed = 42
    config.model.init = "torch"
    config.optimizer.learning_rate = 1e-4
    return config
