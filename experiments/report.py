"""What finished runs say.

python -m experiments.report table --workdir=DIR [--select=last,best_validation]
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

from experiments import choices, data, diagnostics, workdir
from experiments.figures import COLOURS

matplotlib.use("Agg")
from matplotlib import pyplot as plt

SELECTIONS = {
    "last": "last epoch",
    "mean_of_last_10": "mean of the last 10 epochs",
    "best_validation": "best validation epoch",
}


def table(args) -> None:
    """Test accuracy of all runs below a directory: mean, standard deviation, number of seeds."""
    selections = args.select.split(",")
    for name in selections:
        choices.choose("--select", name, SELECTIONS)
    runs = finished(pathlib.Path(args.workdir).expanduser())
    groups: dict[tuple, list[dict]] = {}
    for run, name in zip(runs, labels(runs), strict=True):
        groups.setdefault((name, run["config"]["noise"]["rate"]), []).append(run)
    rates = sorted({rate for _, rate in groups})
    columns = [(name, rate) for name in selections for rate in rates]
    heads = [f"{SELECTIONS[name]}, noise {rate:g}" for name, rate in columns]
    print(f"| method | {' | '.join(heads)} |")
    print("|---" * (1 + len(heads)) + "|")
    selection, rate = columns[0]

    def mean(row):
        values = [run["test_accuracy"].get(selection, 0) for run in groups.get((row, rate), [])]
        return np.mean(values or [0])

    for row in sorted(dict.fromkeys(row for row, _ in groups), key=mean, reverse=True):
        cells = [cell(groups.get((row, rate), []), name) for name, rate in columns]
        print(f"| {row} | {' | '.join(cells)} |")
    print(f"\nTest accuracy in %; {caption(runs)}")


def detectors(args) -> None:
    """How well weights and losses tell wrong labels, in the last epoch and over epochs."""
    runs = finished(pathlib.Path(args.workdir).expanduser())
    groups: dict[str, list[dict]] = {}
    for run, name in zip(runs, labels(runs), strict=True):
        if run["detectors"]:
            groups.setdefault(name, []).append(run)
    if not groups:
        raise ValueError(f"--workdir: no run in {args.workdir} knows which labels are wrong")
    print("| method | ranked by | AUROC | average precision | precision at the true rate |")
    print("|---|---|---|---|---|")
    for name, group in groups.items():
        for score in group[0]["detectors"]:
            values = [run["detectors"][score] for run in group]
            if score == "weight" and all(one["auroc"] == 0.5 for one in values):
                continue  # every example weighs the same
            cells = [mean_and_spread([one[key] for one in values], 3) for key in values[0]]
            print(f"| {name} | {RANKED[score]} | {' | '.join(cells)} |")
    print(f"\nWrong labels found among the training labels; {caption(runs)}")
    chosen = [name for name in args.draw.split(",") if name in groups] or [*groups]
    draw_areas(groups, chosen, args.output)
    print(f"picture: {args.output}")


RANKED = {
    "weight": "weight, least first",
    "loss": "loss, largest first",
    "mean_loss": "mean loss over the run",
}


def draw_areas(groups: dict[str, list[dict]], chosen: list[str], output: str) -> None:
    """AUROC over epochs, the mean over seeds: by weight, where there is one, and by loss."""
    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    for name, colour in zip(chosen, COLOURS, strict=False):
        rows = [workdir.read_rows(run["path"] / workdir.METRICS) for run in groups[name]]
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


def finished(root: pathlib.Path) -> list[dict]:
    """The results of every finished run below a directory, and where they lie, by name."""
    paths = sorted(root.glob(f"**/{workdir.RESULTS}"))
    runs = [json.loads(path.read_text()) | {"path": path.parent} for path in paths]
    # One of each config: a copy is no further seed.
    of_config = {workdir.config_sha256(run["config"]): run for run in runs if "config" in run}
    runs = [*of_config.values()]
    if not runs:
        raise ValueError(f"--workdir: no finished run in {root}")
    return runs


SEEDS = ("seed", "noise.seed", "data.split_seed")


def labels(runs: list[dict]) -> list[str]:
    """What each run is: its method, and every value in which it differs from most of the others.

    Runs of one label differ in their seeds and in the rate of noise alone.
    """
    flat = [flattened(run["config"]) for run in runs]
    keys = sorted({key for one in flat for key in one} - {*SEEDS, "noise.rate", "loss.method"})
    usual = {}
    for key in keys:
        values = [str(one.get(key)) for one in flat]
        usual[key] = max(dict.fromkeys(values), key=values.count)
    texts = []
    for one in flat:
        own = [f"{key.rpartition('.')[2]} {one.get(key)}"
               for key in keys if str(one.get(key)) != usual[key]]  # fmt: skip
        texts.append(", ".join([one["loss.method"], *own]))
    return texts


def flattened(config: dict, prefix: str = "") -> dict:
    """By dotted names, without what a result does not depend on."""
    flat: dict = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= flattened(value, f"{prefix}{key}.")
        elif f"{prefix}{key}".split(".")[0] not in workdir.MAY_CHANGE:
            flat[f"{prefix}{key}"] = value
    return flat


def cell(runs: list[dict], selection: str) -> str:
    values = [100 * run["test_accuracy"].get(selection, np.nan) for run in runs]
    if np.isnan(values).any():
        return "-"
    return f"{mean_and_spread(values, 1)} (n = {len(values)})" if values else "-"


def mean_and_spread(values: list[float], digits: int) -> str:
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def caption(runs: list[dict]) -> str:
    """What the runs have in common, or that they have not."""

    def common(of):
        values = sorted({str(of(run)) for run in runs})
        return values[0] if len(values) == 1 else f"mixed ({', '.join(values)})"

    rates = [run["noise"]["realised_rate"] for run in runs]
    wrong = f"{min(rates):.2%} to {max(rates):.2%}" if None not in rates else "partly unknown"
    parts = (
        f"mean ± sample standard deviation over n seeds; {len(runs)} runs",
        f"{common(lambda run: run['config']['data']['name'])}",
        f"{common(lambda run: run['config']['model']['name'])}",
        f"{common(lambda run: run['config']['epochs'])} epochs",
        f"noise {common(lambda run: run['noise']['convention'])}, {wrong} of the labels wrong",
        f"validation labels {common(lambda run: run['config']['data']['validation_labels'])}",
        f"jax {common(lambda run: run['versions']['jax'])} on {common(lambda r: r['platform'])}",
    )
    return "; ".join(parts) + "."


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
    command = commands.add_parser("table", help=table.__doc__)
    command.add_argument("--workdir", required=True, help="directory that holds the runs")
    command.add_argument("--select", default="last,best_validation",
                         help=f"which epochs: {', '.join(SELECTIONS)}")  # fmt: skip
    command.set_defaults(call=table)
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
