"""Compares what `experiments.clean` found with cleanlab's answers to the same probabilities.

    pip install cleanlab
    python -m scripts.compare_cleanlab --workdir=DIR --out=results/clean/NAME.json
    python -m scripts.compare_cleanlab

The first adds a finished workdir to the committed results; the truth has to be known. The second
prints the table of docs/wrong_labels.md from all of them, and needs no cleanlab.
"""

import argparse
import csv
import json
import pathlib

import numpy as np

from experiments import streams
from experiments.clean import confident, scores, written
from experiments.clean.scores import masks
from experiments.runs import files

RESULTS = pathlib.Path(__file__).parents[1] / "results/clean"
DEFAULT = "cleanlab, its defaults"


def ranks(score: np.ndarray, wrong: np.ndarray) -> dict[str, float]:
    """How well a score, higher where more suspect, ranks wrong labels first."""
    found = scores.measured(score, wrong)
    return {"auroc": found["auroc"]} | {
        f"at_{part}": found[f"precision_at_{part}"] for part in ("100", "1000", "number")
    }


def measured(path: pathlib.Path) -> dict:
    """Both answers to the probabilities of one workdir, and how far the same numbers differ."""
    import cleanlab
    from cleanlab import count, filter, rank

    labels = np.load(path / written.GIVEN)
    given = np.load(path / written.PROBABILITIES).astype(np.float64)
    probabilities = given / given.sum(axis=1, keepdims=True)
    with open(path / written.SUSPECTS, newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: int(row["index"]))
    summary = json.loads((path / written.SUMMARY).read_text())
    wrong = np.array([row["wrong"] == "1" for row in rows])
    suspected = np.array([row["suspected"] == "1" for row in rows])
    theirs = count.compute_confident_joint(labels, probabilities, calibrate=False)
    default = rank.get_label_quality_scores(labels, probabilities)
    return {
        "examples": len(labels),
        "wrong": int(wrong.sum()),
        "cleanlab": cleanlab.__version__,
        "difference": int(abs(theirs - confident.confident_joint(labels, probabilities)).max()),
        "rows": {
            "ours": {"seem_wrong": summary["seem_wrong"]}
            | masks(suspected, wrong)
            | ranks(np.array([float(row["suspicion"]) for row in rows]), wrong),
            DEFAULT: {"seem_wrong": int(count.num_label_issues(labels, probabilities))}
            | masks(filter.find_label_issues(labels, probabilities), wrong)
            | ranks(-default, wrong),
        },
    }


def table(found: dict[str, dict]) -> str:
    """The table as Markdown: a line for each data set and each of the two."""
    head = ["labels", "wrong", "by", "seem wrong", "suspects that are wrong", "wrong ones found"]
    head += ["AUROC", "wrong of the first 1,000", "of the first as many as are wrong"]
    lines = [head, ["---"] * len(head)]
    for name, one in found.items():
        for who, row in one["rows"].items():
            lines.append([
                name, f"{one['wrong']:,} of {one['examples']:,}", who, f"{row['seem_wrong']:,}",
                f"{row['precision']:.1%} of {row['suspected']:,}", f"{row['recall']:.1%}",
                f"{row['auroc']:.4f}", f"{row['at_1000']:.1%}", f"{row['at_number']:.1%}",
            ])  # fmt: skip
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def committed() -> dict[str, dict]:
    return {
        path.stem.replace("_", " "): json.loads(path.read_text())
        for path in sorted(RESULTS.glob("*.json"))
    }


def main() -> None:
    streams.keep()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=pathlib.Path, help="what experiments.clean has written")
    parser.add_argument("--out", type=pathlib.Path, help="the JSON file to write")
    args = parser.parse_args()
    if args.workdir and args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(args.out, measured(args.workdir))
    print(table(committed()))
    streams.check_output()


if __name__ == "__main__":
    main()
