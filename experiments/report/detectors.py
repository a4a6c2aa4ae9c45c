"""How well weights and losses tell what is wrong, in numbers and over epochs."""

import itertools
import pathlib

import numpy as np

from experiments import checks
from experiments.report import runs
from experiments.report.drawing import COLOURS, over_epochs, plt
from experiments.report.plots import split_rows
from experiments.report.runs import FinishedRun
from experiments.runs import samples


def detectors(args) -> None:
    """How well weights and losses tell wrong targets, in the last epoch and over epochs."""
    found = runs.finished_runs(pathlib.Path(args.workdir))
    targets = f"{found[0].score.target}s"
    known = [run for run in found if run.results.get("detectors")]
    if not known:
        raise ValueError(f"--workdir: no run in {args.workdir} knows which {targets} are wrong")
    of_cell = runs.by_cell(known)
    columns = sorted({column for _, column in of_cell})
    names = {  # a method, and its condition where there are several
        (row, column): row if len(columns) == 1 else f"{row}, {runs.heading(column, columns)}"
        for row, column in of_cell
    }
    groups = {names[key]: group for key, group in of_cell.items()}
    for name, group in groups.items():
        runs.check_alike(group, name)
    chosen = split_rows(args.rows, sorted({run.row for run in known})) if args.rows else []
    print("\n".join(table(groups)))
    title = f"wrong {targets} found among the training {targets}"
    print(f"\n{runs.capital(title)}; {runs.caption(known)}")
    shown = [name for (row, _), name in names.items() if row in (chosen or USUAL)] or [*groups]
    drawn = {name: groups[name] for name in shown[: len(COLOURS)]}
    output = place(args)
    draw_areas(drawn, title, output)
    rest = f" (the first {len(COLOURS)} of {len(shown)})" if len(shown) > len(COLOURS) else ""
    print(f"picture{rest}: {output}")


def table(groups: dict[str, list[FinishedRun]]) -> list[str]:
    """A line for each method, epoch and score of which all its runs have the numbers."""
    every = [run.results for group in groups.values() for run in group]
    epochs = [key for key in EPOCHS if any(one.get(key) for one in every)]
    known = [value for one in every for key in epochs for value in one.get(key, {}).values()]
    columns = [key for key in COLUMNS if all(key in value for value in known)]
    several = len(epochs) > 1
    head = ["method", "n", "ranked by", *["epoch"] * several, *(COLUMNS[key] for key in columns)]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, group in groups.items():
        for epoch, score in itertools.product(epochs, RANKED):
            values = [run.results.get(epoch, {}).get(score) for run in group]
            if None in values or (score == "weight" and all(v["auroc"] == 0.5 for v in values)):
                continue  # every example weighs the same, or not every run has such a score
            cells = [runs.mean_and_spread([one[key] for one in values], 3) for key in columns]
            own = [name, str(len(group)), RANKED[score], *[EPOCHS[epoch]] * several, *cells]
            lines.append(f"| {' | '.join(own)} |")
    return lines


EPOCHS = {"detectors": "last", "detectors_best": "best validation"}
COLUMNS = {
    "auroc": "AUROC",
    "average_precision": "average precision",
    "precision_at_rate": "precision at the true rate",
    f"precision_at_{samples.FIRST}": f"precision of the first {samples.FIRST}",
}
PICTURES = (".png", ".svg", ".pdf")
USUAL = (
    "superloss", "self_paced, weights linear", "data_parameters", "cross_entropy", "plain",
    "early_learning",
)  # fmt: skip
RANKED = {
    "loss": "loss, largest first",
    "weight": "weight, least first",
    "mean_loss": "mean loss so far, largest first",
}


def place(args) -> pathlib.Path:
    """The picture's file, where `figures` puts its own: --output is its folder, or its own name."""
    folder = checks.path("--output", args.output or pathlib.Path(args.workdir) / "figures")
    path = folder if folder.suffix in PICTURES else folder / "detectors.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


STYLES = {"auroc_weight": "-", "auroc_loss": "--", "auroc_mean_loss": ":"}
STYLES |= {"auroc_mean_probability": "-."}


def draw_areas(groups: dict[str, list[FinishedRun]], title: str, output: pathlib.Path) -> None:
    """AUROC over epochs, the mean over seeds: by each score that the runs have."""
    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    for name, colour in zip(groups, COLOURS, strict=False):
        rows = [runs.metrics(run) for run in groups[name]]
        for key, style in STYLES.items():
            curves = np.array([[row.get(key, 0.5) for row in run] for run in rows])
            if (curves != 0.5).any():
                text = f"{name}, by {key.partition('_')[2].replace('_', ' ')}"
                axes.plot(range(1, curves.shape[1] + 1), curves.mean(0), style, color=colour,
                          label=text)  # fmt: skip
    over_epochs(axes)
    axes.set(ylabel="AUROC", title=runs.capital(title))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    figure.savefig(output, dpi=120)
    plt.close(figure)


def add_command(commands) -> None:
    command = commands.add_parser("detectors", help=detectors.__doc__)
    command.add_argument("--workdir", required=True, help="directory that holds the runs")
    command.add_argument("--output", help="picture, or its folder (default: WORKDIR/figures)")
    command.add_argument("--rows", help="methods that the picture shows, with commas between")
    command.set_defaults(call=detectors)
