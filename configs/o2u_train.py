"""O2U-Net's second half: training anew, without the 40 % most suspect examples of the first.

    python -m experiments.main --config=configs/o2u_train.py --workdir=runs/o2u_train \
        --config.data.exclude=runs/o2u_rank --data_dir=~/tensorflow_datasets

What is left out is `data.exclude_rate`: as in the paper, the rate of wrong labels.
"""

from configs import cifar10


def get_config():
    config = cifar10.get_config()
    config.data.exclude = "runs/o2u_rank"
    config.data.exclude_rate = 0.4
    config.loss.method = "cross_entropy"
    return config
