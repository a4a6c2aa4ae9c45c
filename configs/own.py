"""Your own data: a folder with a folder of images for each class.

    python -m experiments.main --config=configs/own.py --config.data.path=DIR --workdir=runs/own
    python -m experiments.report suspects --workdir=runs/own

DIR/CLASS/*.png, or DIR/train/CLASS and DIR/test/CLASS. Labels stay as they are: no wrong ones are
added. A tenth of each class is held out, and the best epoch is the best one on it. Size and network
are chosen from the images. `--config.data.name=table` reads a CSV or Parquet file instead, `npz`
arrays, and there are more: docs/data.md.
"""

from configs import base


def get_config():
    config = base.get_config()
    config.epochs = 30
    config.data.name = "folder"
    config.data.validation_share = 0.1
    config.noise.kind = "given"
    config.noise.rate = 0.0
    config.model.name = "auto"
    config.report.selection = ("best_validation", "last")
    return config
