"""Images of a detection with their boxes: wrong classes are marked, and detections are drawn."""

import pathlib

import ml_collections
import numpy as np

from experiments import checks
from experiments.data.boxed import UNKNOWN
from experiments.pictures import Line2D, save_photographs
from experiments.report.drawing import COLOURS, plt
from experiments.runs import files, packed, samples, stored
from experiments.tasks import task_of

SURE = 0.5  # score from which a detection is drawn
COLUMNS = 3


def boxes(args) -> None:
    """A picture of training images with wrong classes marked, and of detections in test images."""
    path = checks.path("--workdir", args.workdir)
    if packed.is_packed(path) or not (path / files.TEST).is_file():
        said = f"expected the directory of a run of a detection, with its {files.TEST}"
        raise ValueError(f"--workdir: {said}: {path}")
    try:
        config = ml_collections.ConfigDict(stored.config_of(path))
        rows = samples.read_samples(path)
        with open(path / files.TEST, "rb") as file, np.load(file, allow_pickle=False) as kept:
            found = {name: kept[name] for name in ("box", "label", "score")}
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"--workdir: expected a finished run of a detection: {error}") from None
    dataset = task_of(config).load(config, args.data_dir)
    if "object" not in rows or len(found["label"]) != len(dataset.test.index):
        raise ValueError(f"--workdir: {path} was trained or tested on other images")
    picture(dataset, rows, found, args.number, path / "boxes.png")
    print(path / "boxes.png")
    wrong = samples.known_wrong(rows)
    if wrong is not None:
        right = (rows["predicted"] == rows["clean_target"])[wrong].mean()
        given = (rows["predicted"] == rows["target"])[wrong].mean()
        print(f"of {wrong.sum()} training boxes with a wrong class, {right:.1%} are predicted as"
              f" what they are, {given:.1%} as they are given")  # fmt: skip


def picture(dataset, rows, found, number: int, file: pathlib.Path) -> None:
    """Draws `number` training images with the most wrong boxes, and as many test images."""
    names, (train, test) = dataset.class_names, (dataset.train, dataset.test)
    columns, shown = min(number, COLUMNS), -(-number // COLUMNS)
    wrong = np.bincount(rows["index"][rows["wrong"] == 1], minlength=train.index.max() + 1)
    first = np.argsort(-wrong[train.index], kind="stable")[:number]
    few = np.linspace(0, len(test.index) - 1, min(number, len(test.index))).astype(int)
    height, width = train.inputs.pixels.shape[1:3]
    size = 3.6 * columns, 3.6 * height / width * 2 * shown + 0.9
    figure, grid = plt.subplots(2 * shown, columns, figsize=size, squeeze=False,
                                layout="constrained")  # fmt: skip
    for axes in grid.flat:
        axes.axis("off")
    for axes, place in zip(grid[:shown].flat, first, strict=False):
        draw_training(axes, train, int(place), names)
    for axes, place in zip(grid[shown:].flat, few, strict=False):
        draw_test(axes, test, int(place), found)
    grid[0, 0].set_title("training images, as given", loc="left", fontsize=9)
    grid[shown, 0].set_title("test images", loc="left", fontsize=9)
    figure.legend(handles=legend(names), loc="outside lower center", ncols=3, fontsize=8)
    save_photographs(figure, file)
    plt.close(figure)


def legend(names) -> list[Line2D]:
    kinds = [Line2D([], [], color=colour(i), label=name) for i, name in enumerate(names[:12])]
    styles = (
        ("--", 2.2, "wrong class: given, in brackets the true one"),
        ("-", 0.8, "right class; true box of a test image"),
        ("-", 2.2, f"detection, with its score from {SURE} on"),
    )
    for style, width, text in styles:
        kinds.append(Line2D([], [], color="0.3", ls=style, lw=width, label=text))
    return kinds


def colour(label: int) -> str:
    return COLOURS[label % len(COLOURS)]


def draw_training(axes, train, place: int, names) -> None:
    axes.imshow(train.inputs.pixels[place])
    targets, clean = train.targets, train.clean_targets[place]
    for box, label, true in zip(targets.box[place], targets.label[place], clean, strict=True):
        if label < 0:
            continue
        wrong = true not in (label, UNKNOWN)
        outline(axes, box, label, "--" if wrong else "-", 2.2 if wrong else 0.8)
        if wrong:
            named = names[true] if true >= 0 else "nothing"
            write(axes, box, f"{names[label]} ({named})", label)


def draw_test(axes, test, place: int, found) -> None:
    axes.imshow(test.inputs.pixels[place])
    for box, label in zip(test.targets.box[place], test.targets.label[place], strict=True):
        if label >= 0:
            outline(axes, box, label, "-", 0.8)
    for box, label, score in zip(*(found[name][place] for name in ("box", "label", "score")),
                                 strict=True):  # fmt: skip
        if label >= 0 and score >= SURE:
            outline(axes, box, label, "-", 2.2)
            write(axes, box, f"{score:.2f}", label)


def outline(axes, box, label: int, style: str, width: float) -> None:
    low, size = box[:2] - 0.5, box[2:] - box[:2]  # the middle of the first pixel is 0
    axes.add_patch(plt.Rectangle(low, *size, fill=False, ec=colour(label), ls=style, lw=width))


def write(axes, box, text: str, label: int) -> None:
    axes.text(box[0], box[1], text, fontsize=5.5, color="white", va="bottom",
              bbox={"fc": colour(label), "ec": "none", "pad": 0.6}, clip_on=True)  # fmt: skip


def add_command(commands) -> None:
    command = commands.add_parser("boxes", help=boxes.__doc__)
    command.add_argument("--workdir", required=True, help="directory of a finished run")
    command.add_argument("--data_dir", help="directory with data sets")
    command.add_argument(
        "--number", type=checks.natural, default=3, help="images of each part (default 3)"
    )
    command.set_defaults(call=boxes)
