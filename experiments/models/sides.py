"""Which sizes of images a model takes, and which model fits a size."""

from collections.abc import Collection

# The least side of an image, and what its sides must be multiples of; others take any size. Blocks
# of 2x2 are pooled without a rest, and the vision transformers' patches have 4x4 pixels.
SIDES = {
    "lenet": (16, 4),
    "convnet": (8, 8),
    "cnn8": (8, 8),
    "vit_tiny": (4, 4),
    "vit_curbench": (4, 4),
}


def fitting(image_shape: tuple[int, ...]) -> str:
    """The model that "auto" stands for: one that learns images of this size in minutes."""
    side = max(image_shape[:2])
    return (
        "mlp"
        if side <= 16 or len(image_shape) == 1
        else "convnet_small"
        if side <= 64
        else "resnet18"
    )


def said(image_shape: tuple[int, ...]) -> str:
    return "rows of numbers" if len(image_shape) == 1 else "the size of the images"


def check_sides(name: str, image_shape: tuple[int, ...], models: Collection[str]) -> None:
    """Raises ValueError if the model cannot take images of this size, or rows of numbers."""
    if len(image_shape) == 1:
        if name in models and name != "mlp":
            said = "rows of numbers are no images: choose mlp or auto"
            raise ValueError(f"config.model.name: {said}, got {name}")
        return
    least, step = SIDES.get(name, (1, 1))
    if all(side >= least and side % step == 0 for side in image_shape[:2]):
        return
    got = "x".join(map(str, image_shape[:2]))
    fitting = "x".join(str(max(least, -(-side // step) * step)) for side in image_shape[:2])
    free = ", ".join(other for other in models if other not in SIDES)
    raise ValueError(
        f"config.model.name: {name} needs images whose sides are multiples of {step}, from {least}"
        f" on, got {got}; pad them to {fitting}, or choose a model for any size: {free}"
    )
