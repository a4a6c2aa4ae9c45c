"""O2U-Net, first half: train with a cyclic learning rate and record every example's mean loss.

    python -m experiments.main --config=configs/o2u_rank.py --workdir=runs/o2u_rank \
        --data_dir=~/tensorflow_datasets
    python -m experiments.report suspects --workdir=runs/o2u_rank --data_dir=~/tensorflow_datasets

LeNet on CIFAR-10 with 40 % wrong labels. In each cycle of 10 epochs, SGD's learning rate falls from
1e-2 to 1e-3, so that the network goes from underfitting to overfitting and back. The examples with
the largest mean loss are the most suspect; o2u_train.py trains without them. Jinchi Huang et
al., "O2U-Net: A Simple Noisy Label Detection Approach for Deep Neural Networks", ICCV 2019.
"""

from configs import cifar10


def get_config():
    config = cifar10.get_config()
    config.loss.method = "loss_memory"
    config.optimizer.name = "sgd"
    config.optimizer.schedule = "cyclic"
    config.optimizer.learning_rate = 1e-2
    config.optimizer.boundaries = (10.0,)
    config.optimizer.factor = 0.1
    return config
