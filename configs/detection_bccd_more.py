"""Blood cells with moved boxes, and at 320x240: what else may change, with one seed.

    python -m experiments.sweep --config=configs/detection_bccd_more.py \\
        --workdir=results/detection_bccd_more --data_dir=DIR
    python -m experiments.report table --workdir=results/detection_bccd_more \\
        --columns=noise.box,data.height,data.width

Otherwise as detection_bccd.py. A run at 320x240 takes nine minutes of one CPU core.
"""

from configs import detection_bccd


def get_config():
    return detection_bccd.get_config()


def sweep():
    for more in ({"noise.box": 0.4}, {"data.height": 240, "data.width": 320}):
        for method in detection_bccd.METHODS:
            yield method | more | {"noise.rate": 0.4}
