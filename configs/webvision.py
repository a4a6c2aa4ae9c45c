"""WebVision's first 50 classes, as the web labels them: ResNet-50 at 224 pixels.

    python -m experiments.main --config=configs/webvision.py --workdir=runs/webvision \\
        --config.data.path=DIR

DIR is the folder of WebVision 1.0, with info/ and google/: docs/data.md. About 66,000 images of
which some 20 % have a wrong label, and nobody knows which. For an accelerator; not measured.
`--config.data.name=webvision` takes all 2.4 million images of 1,000 classes.
"""

from configs import imagenet


def get_config():
    config = imagenet.get_config()
    config.epochs = 100
    config.batch_size = 128
    config.data.name = "mini_webvision"
    config.data.decode = "auto"
    config.data.validation = 0
    config.data.validation_share = 0.05
    config.noise.kind = "given"
    config.noise.rate = 0.0
    config.optimizer.learning_rate = 0.05
    config.optimizer.schedule = "cosine"
    config.report.selection = ("best_validation", "last")
    return config
