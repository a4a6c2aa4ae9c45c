"""Queries of a retrieval with their nearest neighbours in the test set."""

import ml_collections
import numpy as np

from experiments import checks
from experiments.report.drawing import plt
from experiments.runs import files, packed, stored
from experiments.tasks import task_of

RIGHT, WRONG = "0.75", "#d62728"  # colours of frames


def neighbours(args) -> None:
    """A picture of test images with their nearest neighbours, those of other identities in red."""
    path = checks.path("--workdir", args.workdir)
    if packed.is_packed(path) or not (path / files.TEST).is_file():
        said = f"expected the directory of a run of a retrieval, with its {files.TEST}"
        raise ValueError(f"--workdir: {said}: {path}")
    try:
        config = ml_collections.ConfigDict(stored.config_of(path))
        with open(path / files.TEST, "rb") as file, np.load(file, allow_pickle=False) as kept:
            index, near = kept["index"], kept["neighbours"]
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"--workdir: expected a finished run: {error}") from None
    test = task_of(config).load(config, args.data_dir).test
    if not np.array_equal(test.index, index):
        raise ValueError(f"--workdir: {path} was tested on other images")
    queries = np.sort(np.random.default_rng(0).permutation(len(index))[: args.number])
    picture(test, queries, near, path / "neighbours.png")
    print(path / "neighbours.png")
    known = near[queries] >= 0
    right = test.targets[near[queries]] == test.targets[queries][:, None]
    print(f"of {known.sum()} neighbours, {right[known].mean():.1%} have the query's identity")


def picture(test, queries, near, file) -> None:
    """Draws a row for each query, the query first."""
    columns = 1 + near.shape[1]
    figure, grid = plt.subplots(
        len(queries), columns, figsize=(0.85 * columns, 0.92 * len(queries)), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for row, query in zip(grid, queries, strict=True):
        for axes, one in zip(row, (query, *near[query]), strict=True):
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            if one < 0:  # there are fewer others
                continue
            image = np.squeeze(test.inputs[one])
            axes.imshow(image, cmap="gray_r" if image.ndim == 2 else None)
            if axes is row[0]:
                continue
            right = test.targets[one] == test.targets[query]
            axes.spines[:].set(visible=True, color=RIGHT if right else WRONG,
                               linewidth=0.8 if right else 2.5)  # fmt: skip
    grid[0, 0].set_title("query", fontsize=8)
    for rank, axes in enumerate(grid[0, 1:], start=1):
        axes.set_title(str(rank), fontsize=8)
    figure.savefig(file, dpi=120)
    plt.close(figure)


def add_command(commands) -> None:
    command = commands.add_parser("neighbours", help=neighbours.__doc__)
    command.add_argument("--workdir", required=True, help="directory of a finished run")
    command.add_argument("--data_dir", help="directory with data sets")
    command.add_argument(
        "--number", type=checks.natural, default=10, help="how many queries (default 10)"
    )
    command.set_defaults(call=neighbours)
