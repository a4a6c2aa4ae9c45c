"""CUB-200-2011 with the wrong labels of PRISM: ResNet-50 at 224, contrastive loss of pairs.

    python -m experiments.main --config=configs/retrieval_cub.py --workdir=runs/cub \\
        --config.data.path=DIR --config.data.train_list=LISTS/CUB_0.5noised_train.csv \\
        --config.data.test_list=LISTS/CUB_test.csv

As retrieval_cars196.py: The first 100 classes train, the others are the test. Not measured.
"""

from configs import retrieval_cars196


def get_config():
    return retrieval_cars196.get_config()
