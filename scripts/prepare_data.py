"""Downloads and verifies data sets: python scripts/prepare_data.py cifar10 --data_dir=DIR

It runs `python -m experiments.data prepare`, and works from any directory.
"""

import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    # Sets PYTHONPATH and keeps the current directory, so that a relative --data_dir stays valid.
    places = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
    command = [sys.executable, "-m", "experiments.data", "prepare", *sys.argv[1:]]
    os.execve(sys.executable, command, environment)
