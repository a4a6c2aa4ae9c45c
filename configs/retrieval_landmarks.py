"""Landmarks in photographs: ResNet-50 with GeM pooling at 224, 2,048 dimensions.

    python -m experiments.main --config=configs/retrieval_landmarks.py --workdir=runs/landmarks \\
        --config.data.path=DIR

DIR has folders `train` and `test`, in each a folder of images for each landmark; labels are taken
as given. The pooling is that of Radenovic, Tolias and Chum (TPAMI 2019). The test ranks all test
images, and is not the protocol of ROxford and RParis. Not measured: it needs an accelerator.
"""

from configs import retrieval_cars196


def get_config():
    config = retrieval_cars196.get_config()
    config.data.name = "folder"
    config.model.name = "resnet50_gem"
    config.embedding.dim = 2048
    return config
