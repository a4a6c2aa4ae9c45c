"""Matplotlib for files alone, whatever backend the user's environment names.

A notebook's terminal has MPLBACKEND=module://matplotlib_inline.backend_inline, which would have to
be installed before Matplotlib could even be imported.
"""

import os

os.environ["MPLBACKEND"] = "agg"

from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

__all__ = ["Figure", "Line2D", "plt"]
