"""Curves of finished runs, side by side.

python -m experiments.curves --output=curves.png LABEL=WORKDIR [LABEL=WORKDIR ...]
"""

import argparse
import json
import pathlib
import sys

from experiments import workdir

COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7")


def draw(runs: dict[str, pathlib.Path], output: str) -> None:
    """Validation and test accuracy, and the part of clean and of wrong labels that is fitted."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for (label, path), colour in zip(runs.items(), COLOURS, strict=False):
        rows = workdir.read_rows(path / workdir.METRICS)
        epochs = [row["epoch"] for row in rows]

        def curve(axes, key, text, style, rows=rows, epochs=epochs, colour=colour):
            axes.plot(epochs, [100 * row[key] for row in rows], style, color=colour, label=text)

        curve(left, "test_accuracy", label, "-")
        best = json.loads((path / workdir.RESULTS).read_text())["test_accuracy"]
        if "best_epoch" in best:
            at = best["best_epoch"], 100 * best["best_validation"]
            left.plot(*at, "o", color=colour, mfc="white")
        curve(right, "accuracy_clean", f"{label}, right labels", "-")
        curve(right, "accuracy_wrong", f"{label}, wrong labels", "--")
    left.set(title="test accuracy; circle: best validation epoch", xlabel="epoch", ylabel="%")
    right.set(title="training labels fitted", xlabel="epoch", ylabel="%")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=9)
    figure.savefig(output, dpi=120)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="LABEL=WORKDIR")
    parser.add_argument("--output", default="curves.png")
    args = parser.parse_args()
    runs = {}
    for text in args.runs:
        label, _, path = text.partition("=")
        if not (pathlib.Path(path) / workdir.RESULTS).is_file():
            sys.exit(f"error: {text}: expected LABEL=WORKDIR of a finished run")
        runs[label] = pathlib.Path(path)
    draw(runs, args.output)
    print(f"picture: {args.output}")
    for label, path in runs.items():
        accuracy = json.loads((path / workdir.RESULTS).read_text())["test_accuracy"]
        numbers = ", ".join(
            f"{key} {value:.2%}" if key != "best_epoch" else f"{key} {value}"
            for key, value in accuracy.items()
        )
        print(f"{label}: {numbers}")


if __name__ == "__main__":
    main()
