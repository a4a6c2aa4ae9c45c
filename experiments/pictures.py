"""Matplotlib for files alone, whatever backend the user's environment names.

A notebook's terminal has MPLBACKEND=module://matplotlib_inline.backend_inline, which would have to
be installed before Matplotlib could even be imported.
"""

import io
import os
import pathlib

os.environ["MPLBACKEND"] = "agg"

from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

__all__ = ["Figure", "Line2D", "plt", "save_photographs"]


def save_photographs(figure: Figure, path: pathlib.Path, dpi: int = 100) -> None:
    """Writes a PNG of 256 colours: of photographs, a third of the size of one with all."""
    from PIL import Image

    content = io.BytesIO()
    figure.savefig(content, dpi=dpi)
    with Image.open(content) as image:
        image.convert("RGB").quantize(256).save(path, format="PNG", optimize=True)
