"""Clothing1M, as shops label their clothes: ResNet-50 at 224 pixels.

    python -m experiments.main --config=configs/clothing1m.py --workdir=runs/clothing1m \\
        --config.data.path=DIR

DIR has the lists and images/: docs/data.md. A million images of 14 classes, some 38 % with a wrong
label; the clean 14,313 validate and 10,526 test. For an accelerator; not measured. Papers start
from ImageNet's weights, here they are random, so expect less than their 69 to 75 %.
"""

from configs import webvision


def get_config():
    config = webvision.get_config()
    config.epochs = 30
    config.batch_size = 256
    config.data.name = "clothing1m"
    config.data.decode = "files"
    config.data.validation_share = 0.0
    config.optimizer.learning_rate = 0.1
    config.optimizer.weight_decay = 1e-3
    return config
