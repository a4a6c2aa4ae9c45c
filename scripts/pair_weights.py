"""What pairs of images weigh in the first epoch of a retrieval, and how alike their images are.

    python -m scripts.pair_weights --workdir=results/retrieval_omniglot_tuning

Prints a table with a line for each setting: means over seeds of the weights of pairs and of the
cosine of right negative ones in the first epoch, and of the test score in the last.
"""

import argparse

import numpy as np

from experiments import checks, streams
from experiments.report import runs
from experiments.report.runs import FinishedRun

COLUMNS = {
    "sigma_right_positive": "right positive",
    "sigma_wrong_positive": "wrong positive",
    "sigma_right_negative": "right negative",
    "similarity_right_negative": "cosine of right negative",
}


def table(found: list[FinishedRun]) -> str:
    """Returns the table in Markdown, of the runs in which pairs are weighed."""
    score = found[0].score
    heads = "noise", "setting", "n", *COLUMNS.values(), f"{score.name}, last epoch"
    lines = [heads, ("---",) * len(heads)]
    for (row, condition), of in sorted(runs.by_cell(found).items()):
        rows = [runs.metrics(run)[0] for run in of]
        if "similarity_right_negative" in rows[0]:
            means = (mean([one.get(key) for one in rows]) for key in COLUMNS)
            last = np.mean([runs.score_at(run, "last") for run in of])
            lines.append((f"{condition.rate:g}", row, f"{len(of)}", *means, f"{last:.1f}"))
    if len(lines) == 2:
        raise ValueError("--workdir: expected runs of a retrieval whose losses are of pairs")
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def mean(values: list[float | None]) -> str:
    """Returns the mean as text; - where a batch has no such pairs."""
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.2f}" if len(known) == len(values) else "-"


def main() -> None:
    streams.keep()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", required=True, help="directory that holds the runs")
    args = parser.parse_args()
    try:
        print(table(runs.finished_runs(checks.path("--workdir", args.workdir))))
    except ValueError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
