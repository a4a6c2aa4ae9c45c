"""CARS196 with the wrong labels of PRISM: ResNet-50 at 224, contrastive loss of pairs.

    python -m experiments.main --config=configs/retrieval_cars196.py --workdir=runs/cars \\
        --config.data.path=DIR --config.data.train_list=LISTS/CARS_0.5noised_train.csv \\
        --config.data.test_list=LISTS/CARS_test.csv

LISTS is the folder `datalist` of github.com/alibaba-edu/Ranking-based-Instance-Selection, and DIR
holds the images under the paths in its lists, `DIR/data/cars196/images/...`. The first 98 classes
train, the others are the test. Not measured: it needs an accelerator, and weights that were trained
on ImageNet, which published numbers start from, are not read.
"""

from configs import retrieval


def get_config():
    config = retrieval.get_config()
    config.epochs = 50
    config.batch_size = 64
    config.data.name = "listed"
    config.data.side = 224
    config.data.device_budget_mb = 4000.0
    config.augment.pad = 16
    config.augment.flip = True
    config.noise.kind = "given"
    config.model.name = "resnet50"
    config.model.dtype = "bfloat16"
    config.embedding.dim = 512
    config.optimizer.learning_rate = 1e-4
    return config
