"""Random images of CIFAR-10's size, for benchmarks that need no download.

`config.task` names one of three tasks: `task` uses the model of `config.model`; `plain_lenet` and
`plain_convnet` use straightforward models without our optimisations.
"""

from collections.abc import Callable

import flax.linen as nn
import numpy as np

from configs import digits
from experiments.data import Dataset, base
from experiments.tasks import classification
from experiments.tasks.base import Problem, Task
from experiments.tasks.scores import SCORES

CLASSES = 10


def get_config():
    """Returns the digits config, changed to LeNet on these images."""
    config = digits.get_config()
    config.task, config.examples = "scripts.random_images:task", 5000
    config.model.name, config.batch_size, config.devices = "lenet", 128, 1
    return config


def dataset(size: int) -> Dataset:
    images = np.random.default_rng(0).integers(0, 256, (size, 32, 32, 3), np.uint8)
    labels = (np.arange(size) % CLASSES).astype(np.int32)
    arrays = {"train_images": images, "train_labels": labels}
    arrays |= {"test_images": images[:0], "test_labels": labels[:0]}
    return base.dataset("random_images", [str(i) for i in range(CLASSES)], arrays)


def load(config, data_dir: str | None) -> Dataset:
    found = dataset(config.examples)
    return found._replace(validation=found.train.rows(slice(100)))  # some methods ask for one


class PlainLeNet(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool, mask=None):
        for features in (6, 16):
            x = nn.relu(nn.Conv(features, (5, 5), padding="VALID")(x))
            x = nn.max_pool(x, (2, 2), strides=(2, 2))
        x = x.reshape(x.shape[0], -1)
        for width in (120, 84):
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(CLASSES)(x)


class PlainConvNet(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool, mask=None):
        for features in (32, 64, 128):
            for _ in range(2):
                x = nn.relu(nn.Conv(features, (3, 3))(x))
            x = nn.max_pool(x, (2, 2), strides=(2, 2))
        return nn.Dense(CLASSES)(x.reshape(x.shape[0], -1))


def with_model(model: nn.Module) -> Callable[..., Problem]:
    """Returns a `build` function that uses this model instead of the config's."""
    return lambda config, dataset: classification.build(config, dataset)._replace(model=model)


score = SCORES["classification"]
task = Task(score, load, classification.build)
plain_lenet = Task(score, load, with_model(PlainLeNet()))
plain_convnet = Task(score, load, with_model(PlainConvNet()))
