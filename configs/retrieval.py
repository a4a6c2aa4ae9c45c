"""What all retrievals share: the keys of the task, and defaults for small images.

`retrieval_omniglot.py`, `retrieval_cifar100.py`, ... start from this.
"""

import ml_collections
from ml_collections import config_dict

from configs import base


def get_config():
    config = base.get_config()
    config.task = "retrieval"
    del config.augment.cutout, config.augment.mixup, config.noise.exact, config.model.init
    del config.data.variant, config.data.imbalance, config.data.imbalance_exact
    del config.data.labelled, config.data.labelled_seed, config.mean_teacher
    config.data.side = 28  # pixels of a side that images are resized to
    config.data.train_list = config_dict.placeholder(str)  # for listed: lines of "path,label"
    config.data.test_list = config_dict.placeholder(str)
    config.embedding = ml_collections.ConfigDict({
        "dim": 64,  # of an embedding
        "loss": "contrastive",  # or triplet, multi_similarity, softmax
        "per_class": 4,  # images of each class in a batch
        "units": "pairs",  # what the method weighs, for contrastive; or images
        "positives": 1.0,  # for pairs: weight of the mean over positive ones
        "margin": 0.5,  # for contrastive and triplet, of cosines
        "negatives": "semi_hard",  # for triplet; or all
        "alpha": 2.0, "beta": 50.0, "base": 0.5, "epsilon": 0.1,  # for multi_similarity
        "temperature": 0.05,  # for softmax
    })  # fmt: skip
    config.loss.base = "plain"
    config.loss.lam = 0.25  # losses of pairs are from 0 to 2
    config.optimizer.schedule = "cosine"
    return config
