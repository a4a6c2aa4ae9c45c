"""O2U-Net, second half: train again, without the 40 % most suspect examples of the first half.

    python -m experiments.main --config=configs/o2u_train.py --workdir=runs/o2u_train \
        --config.data.exclude=runs/o2u_rank --data_dir=~/tensorflow_datasets

`data.exclude_rate` is the share left out. As in the paper, it equals the rate of wrong labels.
"""

from configs import cifar10


def get_config():
    config = cifar10.get_config()
    config.data.exclude = "runs/o2u_rank"
    config.data.exclude_rate = 0.4
    config.loss.method = "cross_entropy"
    return config
