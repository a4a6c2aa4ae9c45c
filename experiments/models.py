"""Flax Linen models: images, normalised by the caller, in; logits out.

`mask` is false for the padding of a batch, of which BatchNorm must know.
"""

import flax.linen as nn

from experiments.choices import choose


def max_pool(x):
    """2x2 maximum; its gradient is several times faster than that of nn.max_pool on CPU.

    Equal values share the gradient, where nn.max_pool would give it to the first.
    """
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))


class MLP(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, x, train: bool, mask=None):
        x = x.reshape(x.shape[0], -1)
        for width in (256, 256):
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(self.num_classes)(x)


class LeNet(nn.Module):
    """Two convolutions of 5x5 with 6 and 16 channels, then 120, 84 and the classes."""

    num_classes: int

    @nn.compact
    def __call__(self, x, train: bool, mask=None):
        for channels in (6, 16):
            x = nn.Conv(channels, (5, 5), padding="VALID")(x)
            x = nn.relu(max_pool(x))
        x = x.reshape(x.shape[0], -1)
        for width in (120, 84):
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(self.num_classes)(x)


MODELS = {"mlp": MLP, "lenet": LeNet}


def create(name: str, num_classes: int, image_shape: tuple[int, ...]) -> nn.Module:
    model = choose("config.model.name", name, MODELS)
    if model is LeNet and min(image_shape[:2]) < 16:
        raise ValueError(f"model lenet: expected images of at least 16x16, got {image_shape}")
    return model(num_classes)
