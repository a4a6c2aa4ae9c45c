"""Draws what a config trains on: images with labels, a confusion matrix, and class counts.

python -m experiments.data show --config=configs/digits.py --output=noise.png
"""

import numpy as np
from absl import flags

from experiments.data import base, build, labels
from experiments.flags import CONFIG, DATA_DIR, parser, refuse

MOST_CLASSES = 1000  # of the confusion matrix

OUTPUT = flags.DEFINE_string("output", "noise.png", "Picture file to write.")
parse = parser(__doc__, OUTPUT)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        refuse(ValueError(f"unexpected argument {argv[1]!r}"))
    config = CONFIG.value
    try:
        if (task := config.get("task", "classification")) != "classification":
            raise ValueError(f"--config: expected images with labels to draw, got the task {task}")
        dataset = build(config.data, config.noise, DATA_DIR.value)
        draw_picture(dataset, config.noise, OUTPUT.value)
    except (OSError, ValueError) as error:
        refuse(error)
    except (AttributeError, KeyError) as error:  # a key that a user's config lacks
        refuse(ValueError(f"--config: it lacks {' '.join(map(str, error.args))}"))
    print(f"picture: {OUTPUT.value}")


def realised_matrix(examples: base.Examples, num_classes: int) -> np.ndarray:
    """Entry (i, j) is the share of examples of clean class i labelled j; absent classes get 0."""
    known = examples.clean_targets >= 0
    pairs = examples.clean_targets[known] * num_classes + examples.targets[known]
    counts = np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def draw_picture(
    dataset: base.Dataset, noise, path: str, columns: int = 10, lines: int = 4
) -> None:
    from experiments.pictures import plt

    if dataset.train.inputs.ndim == 2:
        raise ValueError(f"config.data.name: {dataset.name} has rows of numbers, and no pictures")
    train, names, wrong = dataset.train, dataset.class_names, base.wrong(dataset.train)
    rate = labels.realised_rate(train)
    figure = plt.figure(figsize=(13, 10.5), layout="constrained")
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.25, 1)).ravel()
    known = "wrong labels unknown" if rate is None else f"{rate:.2%} of the labels wrong"
    upper.suptitle(
        f"{dataset.name}, noise {noise.kind}: {known}. Given label; if wrong, in orange, with the"
        " true one",
        fontsize=12,
    )
    grid = upper.subplots(lines, columns).ravel()
    # Evenly spaced, so that the picture is the same each time.
    rows = np.linspace(0, len(train.targets) - 1, len(grid)).astype(int)
    for axes, row in zip(grid, rows, strict=True):
        image = train.inputs[row]
        axes.imshow(image if image.shape[2] == 3 else image[..., 0], cmap="gray_r")
        axes.set(xticks=[], yticks=[])
        title = names[train.targets[row]]
        title += f"\nis {names[train.clean_targets[row]]}" if wrong[row] else "\n"
        axes.set_title(title, fontsize=9, color="#D55E00" if wrong[row] else "black")
        for spine in axes.spines.values():
            spine.set(edgecolor="#D55E00" if wrong[row] else "#999999", linewidth=2.5)
    left, right = lower.subplots(1, 2)
    _heat_map(left, train, names)
    _counts(right, dataset, names)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _heat_map(axes, train: base.Examples, names) -> None:
    if len(names) > MOST_CLASSES:
        axes.set(title=f"no confusion matrix of {len(names)} classes", xticks=[], yticks=[])
        return
    matrix = realised_matrix(train, len(names))
    image = axes.imshow(matrix, vmin=0, vmax=1, cmap="viridis")
    axes.figure.colorbar(image, ax=axes, fraction=0.046)
    axes.set(title="part of the labels of each class", xlabel="given label", ylabel="true class")
    if len(names) > 20:
        return
    ticks = range(len(names))
    axes.set_xticks(ticks, names, rotation=60, ha="right", fontsize=8)
    axes.set_yticks(ticks, names, fontsize=8)
    for (i, j), value in np.ndenumerate(matrix):
        if value >= 0.005:
            colour = "black" if value > 0.6 else "white"
            axes.text(j, i, f"{100 * value:.0f}", ha="center", va="center", color=colour, size=8)


def _counts(axes, dataset: base.Dataset, names) -> None:
    ticks, train = np.arange(len(names)), dataset.train
    parts = {"training, given label": train.targets, "training, true class": train.clean_targets}
    if len(dataset.validation.targets):
        parts["validation"] = dataset.validation.targets
    width = 0.8 / len(parts)
    colours = ("#D55E00", "#0072B2", "#009E73")
    for i, ((label, values), colour) in enumerate(zip(parts.items(), colours, strict=False)):
        counts = np.bincount(values[values >= 0], minlength=len(names))
        axes.bar(ticks + (i - (len(parts) - 1) / 2) * width, counts, width, label=label, fc=colour)
    axes.set(title="examples of each class")
    if len(names) <= 20:
        axes.set_xticks(ticks, names, rotation=60, ha="right", fontsize=8)
    axes.set_ylim(top=1.15 * axes.get_ylim()[1])
    axes.legend(frameon=False, fontsize=9, loc="upper center", ncols=3)
    axes.grid(axis="y", alpha=0.3)
