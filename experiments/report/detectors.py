"""How well weights and losses tell wrong labels, in numbers and over epochs."""

import pathlib

import numpy as np

from experiments.figures import COLOURS
from experiments.report import runs
from experiments.report.drawing import plt
from experiments.report.runs import FinishedRun


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


def add_command(commands) -> None:
    command = commands.add_parser("detectors", help=detectors.__doc__)
    command.add_argument("--workdir", required=True, help="directory that holds the runs")
    command.add_argument("--output", default="detectors.png", help="picture to write")
    command.add_argument(
        "--draw",
        help="rows of the table that the picture shows",
        default="superloss,self_paced_linear,data_parameters,cross_entropy,elr",
    )
    command.set_defaults(call=detectors)
