"""A page of the suspects, in which a person decides on each and saves the corrections."""

import base64
import hashlib
import html
import io
import json
import pathlib
import string
from collections.abc import Mapping

import numpy as np
from PIL import Image

from experiments.clean.folds import OutOfFold
from experiments.clean.scores import Found
from experiments.data import Dataset

LARGEST = 192  # pixels of a picture's longer side


def page(
    dataset: Dataset,
    out: OutOfFold,
    one: Found,
    shown: int,
    command: str,
    earlier: Mapping[int, str],
) -> str:
    """One HTML file without a network, of the `shown` most suspect of all suspects.

    It saves what is decided there, and what was decided `earlier` of others: labels by index.
    """
    first = one.order[one.suspected[one.order]][:shown]
    place = {int(at): i for i, at in enumerate(dataset.train.index)}
    names, suspicion = dataset.class_names, one.scores["suspicion"]
    rows = [
        {
            "index": int(out.index[i]),
            "given": names[out.labels[i]],
            "suggested": names[one.suggested[i]],
            "told": f"{where(dataset, int(out.index[i]))}, suspicion {suspicion[i]:.1f}",
            "image": picture(dataset.train.inputs[place[int(out.index[i])]]),
        }
        for i in first
    ]
    listed = script(rows)
    total, wrong = f"{len(out.labels):,}", f"{one.number_wrong:,}"
    told = f"About {wrong} of {total} labels seem wrong. Here are the {len(first):,} most suspect"
    told += " ones, each with the label that a model predicts that has not seen the example."
    if earlier:
        told += " Your earlier corrections are saved with the new ones."
    template = string.Template(pathlib.Path(__file__).with_suffix(".html").read_text("utf-8"))
    return template.substitute(
        told=html.escape(told),
        command=html.escape(command),
        names=script([*names]),
        rows=listed,
        earlier=script(earlier),
        digest=hashlib.sha256(listed.encode()).hexdigest()[:16],
    )


def script(value) -> str:
    """JSON that may stand in a script: no name of a class can end it."""
    return json.dumps(value).replace("<", "\\u003c")


def where(dataset: Dataset, index: int) -> str:
    return dataset.files[index] if dataset.files else f"number {index}"


def picture(pixels: np.ndarray) -> str:
    """An image as a data URI; "" for what is none, such as a row of numbers."""
    if pixels.ndim != 3:
        return ""
    if pixels.max(initial=0) <= 16:  # such as scikit-learn's digits
        pixels = pixels * 15
    grey = pixels.shape[-1] == 1
    image = Image.fromarray((pixels[..., 0] if grey else pixels).astype(np.uint8))
    image.thumbnail((LARGEST, LARGEST))
    content = io.BytesIO()
    image.save(content, "PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
