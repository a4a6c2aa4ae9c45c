"""ImageNet with 40 % wrong labels: ResNet-50 at 224 pixels; each image is decoded when it is due.

    python -m experiments.main --config=configs/imagenet.py --workdir=runs/imagenet \\
        --config.data.path=DIR

DIR has train/WNID/*.JPEG, and val/WNID/*.JPEG or val/*.JPEG with LOC_val_solution.csv: see
docs/data.md. For accelerators; not measured. Batches, learning rate, its schedule and weight decay
are those of Priya Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", 2017,
whose error without wrong labels is 23.6 %. They crop images at random scales, here at 224 with a
margin.
"""

from configs import base


def get_config():
    config = base.get_config()
    config.epochs = 90
    config.batch_size = 256
    config.data.name = "imagenet"
    config.data.decode = "files"
    config.data.side = 224
    config.data.validation = 10_000
    config.augment.pad = 16
    config.augment.flip = True
    config.model.name = "resnet50"
    config.model.dtype = "bfloat16"
    config.optimizer.name = "sgd"
    config.optimizer.learning_rate = 0.1
    config.optimizer.nesterov = True
    config.optimizer.weight_decay = 1e-4
    config.optimizer.schedule = "piecewise"
    config.optimizer.warmup_epochs = 5.0
    config.optimizer.boundaries = (30.0, 60.0, 80.0)
    config.checkpoint.every_minutes = 15.0
    return config
