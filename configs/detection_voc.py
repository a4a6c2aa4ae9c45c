"""PASCAL VOC 2007 and 2012 with wrong boxes: FCOS on ResNet-50 with a feature pyramid, at 512.

    python -m experiments.main --config=configs/detection_voc.py --workdir=runs/voc --data_dir=DIR
    python -m experiments.sweep --config=configs/detection_voc.py --workdir=runs/voc_table \\
        --data_dir=DIR

For an accelerator; not measured. DIR has voc/2007 and voc/2012, by `tfds build voc/2007
--file_format=array_record`. The 16,551 images take 13 GB of the host's memory. The backbone starts
from random weights, where papers start from ImageNet's, so expect less than their 75 to 80 %. Rates
of noise as in Li et al. 2020: classes 0 to 0.4, box 0, 0.2 and 0.4.
"""

from configs import detection


def get_config():
    config = detection.get_config()
    config.epochs = 72
    config.batch_size = 16
    config.data.name = "voc0712"
    config.data.height = config.data.width = 512
    config.data.boxes = 64
    config.data.device_budget_mb = 8000.0  # what is larger is streamed
    config.model.name = "detector_resnet50_fpn"
    config.model.dtype = "bfloat16"
    config.detection.classes = "focal"
    config.detection.boxes = "giou"
    config.detection.suppression = 0.6
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 2e-4
    config.optimizer.weight_decay = 0.05
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_epochs = 1.0
    config.checkpoint.every_minutes = 15.0
    return config


def sweep():
    for rate in (0.0, 0.2, 0.4):
        for box in (0.0, 0.2, 0.4):
            for method in ("plain", "superloss"):
                yield {"loss.method": method, "noise.rate": rate, "noise.box": box}
