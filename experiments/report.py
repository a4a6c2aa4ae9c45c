"""What finished runs say.

python -m experiments.report table --workdir=DIR [--select=last,best_validation]
python -m experiments.report choose --workdir=DIR
python -m experiments.report detectors --workdir=DIR [--output=detectors.png]
python -m experiments.report suspects --workdir=DIR [--number=100] [--data_dir=DIR]
"""

import argparse
import csv
import json
import pathlib
import sys

import matplotlib
import ml_collections
import numpy as np

from experiments import data, diagnostics, runs, table, workdir
from experiments.figures import COLOURS
from experiments.runs import FinishedRun

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def choose(args) -> None:
    """Settings of each method by accuracy on validation labels, the best first."""
    found = runs.read(pathlib.Path(args.workdir))
    if len({run.column for run in found}) > 1:
        raise ValueError("--workdir: expected runs of one condition: a choice is made at one")
    groups: dict[str, dict[str, list[float]]] = {}
    for run in found:
        if (best := runs.validation(run)) is None:
            raise ValueError(f"--workdir: {run.path} has no validation labels to choose by")
        groups.setdefault(run.results["config"]["loss"]["method"], {}).setdefault(
            run.row, []
        ).append(best)
    print("| method | setting | validation accuracy |\n|---|---|---|")
    for method, settings in groups.items():
        ordered = sorted(settings.items(), key=lambda item: -float(np.mean(item[1])))
        for place, (row, values) in enumerate(ordered):
            text = runs.mean_and_spread(values, 2)
            chosen = f"**{text}**" if place == 0 else text
            print(f"| {method} | {row.partition(', ')[2] or 'as configured'} | {chosen} |")
    kind = found[0].results["config"]["data"]["validation_labels"]
    said = f"Accuracy in % on {kind} validation labels at its best epoch, the best in bold"
    print(f"\n{said}; {runs.caption(found)}")


def detectors(args) -> None:
    """How well weights and losses tell wrong labels, in the last epoch and over epochs."""
    found = runs.read(pathlib.Path(args.workdir))
    groups: dict[str, list[FinishedRun]] = {}
    for run in found:
        if run.results["detectors"]:
            groups.setdefault(name_of(run, found), []).append(run)
    if not groups:
        raise ValueError(f"--workdir: no run in {args.workdir} knows which labels are wrong")
    print("| method | ranked by | AUROC | average precision | precision at the true rate |")
    print("|---|---|---|---|---|")
    for name, group in groups.items():
        for score in group[0].results["detectors"]:
            values = [run.results["detectors"][score] for run in group]
            if score == "weight" and all(one["auroc"] == 0.5 for one in values):
                continue  # every example weighs the same
            cells = [runs.mean_and_spread([one[key] for one in values], 3) for key in values[0]]
            print(f"| {name} | {RANKED[score]} | {' | '.join(cells)} |")
    print(f"\nWrong labels found among the training labels; {runs.caption(found)}")
    chosen = [name for name in args.draw.split(",") if name in groups] or [*groups]
    draw_areas(groups, chosen, args.output)
    print(f"picture: {args.output}")


RANKED = {
    "weight": "weight, least first",
    "loss": "loss, largest first",
    "mean_loss": "mean loss over the run",
}


def name_of(run: FinishedRun, among: list[FinishedRun]) -> str:
    """A method, and its condition where there are several."""
    columns = sorted({one.column for one in among})
    return run.row if len(columns) == 1 else f"{run.row}, {runs.heading(run.column, columns)}"


def draw_areas(groups: dict[str, list[FinishedRun]], chosen: list[str], output: str) -> None:
    """AUROC over epochs, the mean over seeds: by weight, where there is one, and by loss."""
    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    for name, colour in zip(chosen, COLOURS, strict=False):
        rows = [runs.metrics(run) for run in groups[name]]
        for key, style in (("auroc_weight", "-"), ("auroc_loss", "--")):
            curves = np.array([[row.get(key, 0.5) for row in run] for run in rows])
            if (curves != 0.5).any():
                text = f"{name}, by {key.partition('_')[2]}"
                axes.plot(range(1, curves.shape[1] + 1), curves.mean(0), style, color=colour,
                          label=text)  # fmt: skip
    axes.set(xlabel="epoch", ylabel="AUROC", title="wrong labels found among the training labels")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    figure.savefig(output, dpi=120)
    plt.close(figure)


def suspects(args) -> None:
    """The training examples whose labels a run trusts least: a list, and a picture."""
    path = pathlib.Path(args.workdir).expanduser()
    try:
        config = ml_collections.ConfigDict(json.loads((path / workdir.CONFIG).read_text()))
        rows = diagnostics.read(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"--workdir: expected a finished run: {error}") from None
    dataset, _ = data.build(config.data, config.noise, args.data_dir)
    # Of the whole training set, whatever the run left out: found by the published position.
    place = {int(index): i for i, index in enumerate(dataset.train.indices)}
    first = diagnostics.order(rows)[: args.number]
    names = dataset.class_names
    with open(path / "suspects.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["index", "given_label", "predicted_label", "weight", "loss"])
        for i in first:
            labels = names[rows["label"][i]], names[rows["predicted"][i]]
            numbers = (f"{rows[name][i]:.6g}" for name in ("weight", "loss"))
            writer.writerow([rows["index"][i], *labels, *numbers])
    print(path / "suspects.csv")
    images = [dataset.train.images[place[int(rows["index"][i])]] for i in first[:40]]
    titles = [
        f"{rows['index'][i]}: {names[rows['label'][i]]}\n{names[rows['predicted'][i]]}?"
        for i in first[:40]
    ]
    picture(images, titles, path / "suspects.png")
    print(path / "suspects.png")
    wrong = diagnostics.is_wrong(rows)
    if wrong is not None:
        part = f"{wrong[first].mean():.1%} are wrong; of all, {wrong.mean():.1%}"
        print(f"of these {len(first)}, {part}")


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    table.add_command(commands)
    command = commands.add_parser("choose", help=choose.__doc__)
    command.add_argument("--workdir", required=True, help="directory that holds the runs")
    command.set_defaults(call=choose)
    command = commands.add_parser("detectors", help=detectors.__doc__)
    command.add_argument("--workdir", required=True, help="directory that holds the runs")
    command.add_argument("--output", default="detectors.png", help="picture to write")
    command.add_argument(
        "--draw",
        help="rows of the table that the picture shows",
        default="superloss,self_paced_linear,data_parameters,cross_entropy,elr",
    )
    command.set_defaults(call=detectors)
    command = commands.add_parser("suspects", help=suspects.__doc__)
    command.add_argument("--workdir", required=True, help="directory of a finished run")
    command.add_argument("--data_dir", help="directory with data sets")
    command.add_argument("--number", type=int, default=100, help="how many (default 100)")
    command.set_defaults(call=suspects)
    args = parser.parse_args()
    try:
        args.call(args)
    except ValueError as error:
        sys.exit(f"error: {' '.join(str(error).split())}")


if __name__ == "__main__":
    main()
