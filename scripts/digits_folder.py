"""Writes scikit-learn's digits as a folder of PNG files by class, some in the wrong class.

    python -m scripts.digits_folder --output=DIR [--rate=0.2]

DIR/train/CLASS and DIR/test/CLASS. 500 images are for the test, all in the right class. Each file
is named after its number and its true class: 0359_3.png.
"""

import argparse
import pathlib

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from experiments import streams


def main() -> None:
    streams.keep()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=pathlib.Path, required=True, help="a folder, made anew")
    parser.add_argument("--rate", type=float, default=0.2, help="share of wrong training labels")
    args = parser.parse_args()
    images, labels = load_digits(return_X_y=True)
    images = np.round(images.reshape(-1, 8, 8) * 255 / 16).astype(np.uint8)
    rng = np.random.Generator(np.random.PCG64(0))
    is_test = rng.permutation(len(labels)) < 500
    wrong = (rng.random(len(labels)) < args.rate) & ~is_test
    given = np.where(wrong, (labels + rng.integers(1, 10, len(labels))) % 10, labels)
    args.output.mkdir(parents=True)
    for i, (image, label) in enumerate(zip(images, given, strict=True)):
        folder = args.output / ("test" if is_test[i] else "train") / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{i:04d}_{labels[i]}.png")
    print(f"{args.output}: {(~is_test).sum()} training images, {wrong.sum()} in the wrong folder")


if __name__ == "__main__":
    main()
