"""Downloads and verifies data sets: python scripts/prepare_data.py cifar10 --data_dir=DIR"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from experiments.data.__main__ import main

if __name__ == "__main__":
    main([sys.argv[0], "prepare", *sys.argv[1:]])
