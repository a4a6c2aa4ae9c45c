"""The training examples whose targets a run trusts least."""

import csv
import pathlib
import shlex

import jax
import ml_collections
import numpy as np

from experiments import checks
from experiments.report.drawing import plt
from experiments.runs import files, packed, samples, stored
from experiments.tasks import score_of, task_of


def suspects(args) -> None:
    """The training examples whose targets a run trusts least: a list, and a picture."""
    path = checks.path("--workdir", args.workdir)
    refuse_several(path, args)
    try:
        config = ml_collections.ConfigDict(stored.config_of(path))
        rows = samples.with_target(samples.read_samples(path))
    except (OSError, ValueError) as error:
        raise ValueError(f"--workdir: expected a finished run: {error}") from None
    if not {"target", "predicted"} <= rows.keys() or "data" not in config:
        said = "expected a run that records a target and a prediction of each example"
        raise ValueError(f"--workdir: {path}: {said}")
    recorded = config.data.get("sha256")
    files.note_content(config)
    if config.data.get("sha256") != recorded:
        raise ValueError(f"config.data.path: {config.data.path} has changed since the run")
    dataset = task_of(config).load(config, args.data_dir)
    # Of the whole training set, whatever the run left out: found by the published position.
    place = {int(index): i for i, index in enumerate(dataset.train.index)}
    first = samples.order(rows)[: args.number]
    target, names = score_of(config).target, getattr(dataset, "class_names", ())
    paths = getattr(dataset, "files", ())
    with open(path / "suspects.csv", "w", newline="") as file:
        writer = csv.writer(file)
        own = ["index", "object"] if "object" in rows else ["index"]
        columns = [*own, f"given_{target}", f"predicted_{target}", "weight", "loss"]
        writer.writerow(columns + ["path"] * bool(paths))
        for i in first:
            both = shown(rows["target"][i], names), shown(rows["predicted"][i], names)
            numbers = (f"{rows[name][i]:.6g}" for name in ("weight", "loss"))
            file_of = [paths[rows["index"][i]]] if paths else []
            writer.writerow([*(rows[name][i] for name in own), *both, *numbers, *file_of])
    print(path / "suspects.csv")
    images = [shown_image(dataset.train, place[int(rows["index"][i])], rows, i) for i in first[:40]]
    titles = []
    for i in first[:40]:
        given, predicted = (shown(rows[name][i], names) for name in ("target", "predicted"))
        titles.append(f"{rows['index'][i]}: {given}\n{predicted}?")
    if images and np.ndim(images[0]) == 3:  # rows of numbers are no picture
        picture(images, titles, path / "suspects.png")
        print(path / "suspects.png")
    wrong = samples.known_wrong(rows)
    if wrong is not None:
        part = f"{wrong[first].mean():.1%} are wrong; of all, {wrong.mean():.1%}"
        print(f"of these {len(first)}, {part}")


def refuse_several(path: pathlib.Path, args) -> None:
    """Lists the command for each run below a directory that is not a run's own, and raises."""
    if not path.is_dir() or (path / files.SAMPLES).exists():
        return
    below = sorted(found.parent for found in path.glob(f"**/{files.SAMPLES}"))
    given = [f"--data_dir={args.data_dir}"] if args.data_dir else []
    for run in below:
        command = ["python", "-m", "experiments.report", "suspects", f"--workdir={run}", *given]
        print(shlex.join(command))
    if packed.is_packed(path) and not below:
        said = "expected a run with its samples.npz, got a packed sweep without"
        raise ValueError(f"--workdir: {said}: {path}")
    if below:
        raise ValueError(
            f"--workdir: expected a run, got {path}, which holds {len(below)}: see above"
        )


def shown_image(train, place: int, rows, i: int):
    """Returns the image of an example, or what is in the box of an object."""
    image = jax.tree.leaves(train.inputs)[0][place]  # of several inputs, the first is what is shown
    if "object" not in rows:
        return image
    left, top, right, bottom = train.targets.box[place, rows["object"][i]].round().astype(int)
    return image[top : max(bottom, top + 1), left : max(right, left + 1)]


def shown(value, names) -> str:
    """A target as people write it: the name of what was counted, or a number."""
    return names[value] if names else f"{value:g}"


def picture(images, titles, path: pathlib.Path) -> None:
    columns = 10
    rows = -(-len(images) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(1.25 * columns, 1.6 * rows), squeeze=False, layout="constrained"
    )
    for axis in axes.flat:
        axis.axis("off")
    for axis, image, title in zip(axes.flat, images, titles, strict=False):
        axis.imshow(np.squeeze(image), cmap="gray")
        axis.set_title(title, fontsize=7)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def add_command(commands) -> None:
    command = commands.add_parser("suspects", help=suspects.__doc__)
    command.add_argument("--workdir", required=True, help="directory of a finished run")
    command.add_argument("--data_dir", help="directory with data sets")
    command.add_argument(
        "--number", type=checks.natural, default=100, help="how many (default 100)"
    )
    command.set_defaults(call=suspects)
