"""The files that are left: the suspects, corrected labels, probabilities, the noise matrix."""

import csv
import io
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from experiments.clean import confident, scores
from experiments.clean.folds import OutOfFold
from experiments.clean.scores import Found
from experiments.data import Dataset
from experiments.runs import files

SUSPECTS, LABELS, MATRIX = "suspects.csv", "labels_cleaned.csv", "noise_matrix.csv"
PROBABILITIES, GIVEN, SUMMARY, PAGE = "pred_probs.npy", "labels.npy", "clean.json", "page.html"


def write(root: pathlib.Path, dataset: Dataset, out: OutOfFold, one: Found, page: str) -> dict:
    """Writes all files, the text of the page among them, and returns the summary, which is last."""
    wrong = scores.known_wrong(out)
    names = dataset.class_names
    files.replace(root / PROBABILITIES, array(out.probabilities.astype(np.float32)))
    files.replace(root / GIVEN, array(out.labels))
    matrix = confident.noise_matrix(out.labels, out.probabilities)
    rows = ([name, *(f"{p:.6g}" for p in row)] for name, row in zip(names, matrix, strict=True))
    files.replace(root / MATRIX, table(["true, given:", *names], rows))
    files.replace(root / SUSPECTS, table(*suspects(dataset, out, one, wrong)))
    files.replace(root / LABELS, table(*cleaned(dataset, out, one)))
    files.replace(root / PAGE, page.encode())
    summary: dict[str, Any] = {
        "examples": len(out.labels),
        "seem_wrong": one.number_wrong,
        "suspected": int(one.suspected.sum()),
    }
    if wrong is not None:
        found = {name: scores.measured(score, wrong) for name, score in one.scores.items()}
        summary |= {"wrong": int(wrong.sum())} | scores.masks(one.suspected, wrong)
        summary["scores"] = found
    files.write_json(root / SUMMARY, summary)
    return summary


def suspects(dataset: Dataset, out: OutOfFold, one: Found, wrong):
    """Every example with a label, the most suspect first."""
    names, paths = dataset.class_names, dataset.files
    head = ["rank", "index", *["path"] * bool(paths), "given", "suggested", "suspected"]
    head += [*one.scores, *["wrong"] * (wrong is not None)]
    rows = (
        [
            rank, out.index[i], *([paths[out.index[i]]] if paths else []), names[out.labels[i]],
            names[one.suggested[i]], int(one.suspected[i]),
            *(f"{score[i]:.6g}" for score in one.scores.values()),
            *([int(wrong[i])] if wrong is not None else []),
        ]
        for rank, i in enumerate(one.order, start=1)
    )  # fmt: skip
    return head, rows


def cleaned(dataset: Dataset, out: OutOfFold, one: Found):
    """Every example, the suspects with the label that is suggested: for `data.corrections`.

    An example without a label has none here: corrections that were read have left it out.
    """
    names, paths, train = [*dataset.class_names, ""], dataset.files, dataset.train
    suggested = dict(zip(out.index[one.suspected], one.suggested[one.suspected], strict=True))
    head = ["index", *["path"] * bool(paths), "given", "label"]
    rows = (
        [at, *([paths[at]] if paths else []), names[given], names[suggested.get(at, given)]]
        for at, given in zip(train.index, train.targets, strict=True)
    )
    return head, rows


def table(head: list[str], rows: Iterable[list]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue().encode()


def array(values: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, values)
    return content.getvalue()
