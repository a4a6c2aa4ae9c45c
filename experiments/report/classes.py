"""Average precision of each class, for detections."""

import pathlib

from experiments.report import runs
from experiments.report.table import markdown

MEANS = {"test_map_50": "mAP", "test_map_75": "mAP at 0.75", "test_map": "mAP over 0.5 to 0.95"}
OF_CLASS = "test_ap_50_"


def classes(args) -> None:
    """Average precision in the last epoch: of each class at IoU 0.5, and means over classes."""
    found = runs.finished_runs(pathlib.Path(args.workdir), args.columns)
    names = sorted(
        {
            name
            for run in found
            for name in run.results.get("last_epoch", {})
            if name.startswith(OF_CLASS)
        }
    )
    if not names:
        raise ValueError(f"--workdir: no run in {args.workdir} is a detection")
    of_cell = runs.by_cell(found)
    columns = sorted({column for _, column in of_cell})
    heads = ["method", "condition", "n", *(name.removeprefix(OF_CLASS) for name in names)]
    lines = []
    for column in columns:
        for (row, own), group in of_cell.items():
            if own == column:
                runs.check_alike(group, row)
                values = [
                    [run.results["last_epoch"].get(name) for run in group]
                    for name in (*names, *MEANS)
                ]
                cells = [cell(one) for one in values]
                lines.append([row, runs.heading(column, columns), str(len(group)), *cells])
    said = f"Test average precision at IoU 0.5 in the last epoch; {runs.caption(found)}"
    print(markdown([*heads, *MEANS.values()], lines, said), end="")


def cell(values: list) -> str:
    known = [value for value in values if value is not None]  # a class may not be in the test set
    return runs.mean_and_spread(known, 3) if known else "-"


def add_command(commands) -> None:
    command = commands.add_parser("classes", help=classes.__doc__)
    runs.add_arguments(command)
    command.set_defaults(call=classes)
