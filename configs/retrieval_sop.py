"""Stanford Online Products with the wrong labels of PRISM: ResNet-50 at 224, contrastive loss.

    python -m experiments.main --config=configs/retrieval_sop.py --workdir=runs/sop \\
        --config.data.path=DIR --config.data.train_list=LISTS/SOP_0.5noised_train.csv \\
        --config.data.test_list=LISTS/SOP_test.csv

As retrieval_cars196.py: 11,318 products train, the others are the test. Not measured.
"""

from configs import retrieval_cars196


def get_config():
    return retrieval_cars196.get_config()
