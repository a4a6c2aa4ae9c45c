"""Digit values of the whole of MNIST as numbers: 60,000 training images, wrong targets, ResNet-18.

    tfds build mnist --data_dir=DIR --file_format=array_record   # needs TensorFlow
    python -m experiments.main --config=configs/regression_mnist_full.py --workdir=runs/mnist \\
        --data_dir=DIR
    python -m experiments.sweep --config=configs/regression_mnist_full.py \\
        --workdir=runs/mnist_full --data_dir=DIR

The noises, losses, methods and seeds of regression_mnist.py, for an accelerator. Not run here, so
there is no expected number; regression_mnist.py is the part that was run.
"""

from configs import regression_mnist


def get_config():
    config = regression_mnist.get_config()
    config.epochs = 30
    config.batch_size = 128
    config.data.name = "mnist"
    config.data.examples = 0
    config.model.name = "resnet18"
    config.optimizer.learning_rate = 1e-3
    return config


sweep = regression_mnist.sweep
