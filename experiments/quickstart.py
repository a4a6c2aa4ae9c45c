"""Compares cross entropy and SuperLoss on digits at 40 % label noise, with a table and a picture.

python -m experiments.quickstart --workdir=quickstart
"""

import concurrent.futures
import os
import pathlib
import subprocess
import sys
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from configs import digits
from experiments import checks, streams
from experiments.progress import progress_line
from experiments.report.runs import mean_and_spread
from experiments.runs import files, identity, stored
from experiments.sweep.pool import ONE_THREAD
from experiments.usage import Parser, refuse

METHODS = {"cross_entropy": "cross entropy", "superloss": "SuperLoss"}
PANELS = {
    "test_accuracy": ("test accuracy", "Higher is better"),
    "accuracy_wrong": ("wrong labels fitted", "Lower is better"),
}
COLOURS = {"cross_entropy": "#D55E00", "superloss": "#0072B2"}  # safe for colour-blind readers
DASHES = {"cross_entropy": "--", "superloss": "-"}


def is_finished(path: pathlib.Path, overrides: dict[str, Any]) -> bool:
    """Whether the run has results; raises ValueError if config or versions are different ones."""
    run = stored.at(path)
    if run is None:
        return False
    results = run.results
    config = digits.get_config()
    config.update_from_flattened_dict(overrides)
    expected = identity.plain(config.to_dict()), files.versions()
    if (results.get("config"), results.get("versions")) != expected:
        raise ValueError(
            f"{path} holds a run of another configuration or version; delete {path.parent}"
            " or choose another --workdir"
        )
    return True


def run_one(path: pathlib.Path, overrides: dict[str, Any]) -> None:
    """Trains one run in a separate process."""
    command = [sys.executable, "-m", "experiments.main", "--config=configs/digits.py"]
    command += [f"--workdir={path}", *(f"--config.{k}={v}" for k, v in overrides.items())]
    done = subprocess.run(
        command, env=os.environ | ONE_THREAD, capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        said = f"{path.name} ended with code {done.returncode}: {lines[-1]}"
        raise (ValueError if done.returncode == 2 else OSError)(said)


def run_all(root: pathlib.Path, seeds: int, epochs: int) -> dict:
    """Trains missing runs; returns, for each method, a list of (results, rows), one per seed."""
    points: dict[pathlib.Path, dict[str, Any]] = {
        root / f"{method}_seed{seed}": {
            "loss.method": method, "seed": seed, "noise.seed": seed, "epochs": epochs,
        }
        for seed in range(seeds)
        for method in METHODS
    }  # fmt: skip
    missing = {path: point for path, point in points.items() if not is_finished(path, point)}
    if len(missing) < len(points):
        print(f"{len(points) - len(missing)} of {len(points)} runs are there already")
    with (
        concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool,
        progress_line(len(missing), "training") as progress,
    ):
        futures = [pool.submit(run_one, *point) for point in missing.items()]
        for done, future in enumerate(concurrent.futures.as_completed(futures), 1):
            future.result()
            progress(done, "training")
    runs: dict[str, list] = {method: [] for method in METHODS}
    for path, point in points.items():
        run = stored.at(path)
        assert run is not None, f"{path} was trained, and has no result"
        runs[point["loss.method"]].append((run.results, stored.metrics_of(run)))
    return runs


def print_table(runs: dict, seeds: int, epochs: int) -> None:
    rates = [results["noise"]["realised_rate"] for results, _ in runs["superloss"]]
    table = Table(
        title="Digits at 40 % label noise",
        caption=f"MLP, last of {epochs} epochs, in %, mean ± standard deviation, n = {seeds};"
        f" noise symmetric_exclusive, {np.mean(rates):.1%} of the training labels wrong",
    )
    columns = {
        "test accuracy": "test_accuracy",
        "fitted clean labels": "accuracy_clean",
        "fitted wrong labels (lower is better)": "accuracy_wrong",
    }
    table.add_column("method")
    for column in columns:
        table.add_column(column, justify="right")
    for method, label in METHODS.items():
        last = [rows[-1] for _, rows in runs[method]]
        cells = (mean_and_spread([100 * row[key] for row in last], 1) for key in columns.values())
        table.add_row(label, *cells)
    Console(highlight=False).print(table)


def save_picture(runs: dict, path: pathlib.Path) -> None:
    from experiments.pictures import plt
    from experiments.report import drawing

    with plt.rc_context(drawing.LOOK):
        figure, panels = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
        for axes, (key, (name, better)) in zip(panels, PANELS.items(), strict=True):
            for method, label in METHODS.items():
                values = 100 * np.array([[row[key] for row in rows] for _, rows in runs[method]])
                epochs, colour = np.arange(1, values.shape[1] + 1), COLOURS[method]
                axes.plot(epochs, values.mean(0), DASHES[method], color=colour, label=label)
                axes.fill_between(
                    epochs, values.min(0), values.max(0), color=colour, alpha=0.15, lw=0
                )
            axes.set(ylabel=f"{name} (%)", title=better)
            drawing.over_epochs(axes)
        lines, names = panels[0].get_legend_handles_labels()
        figure.legend(lines, names, loc="outside upper center", ncols=2, frameon=False,
                      title="Digits, 40 % of the training labels wrong")  # fmt: skip
        figure.savefig(path, dpi=120)
        plt.close(figure)


def main() -> None:
    streams.keep()
    parser = Parser(prog="python -m experiments.quickstart", description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", default="quickstart", help="where runs and picture go")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds (default 3)")
    parser.add_argument("--epochs", type=int, default=60, help="epochs of each run (default 60)")
    args = parser.parse_args()
    try:
        root = checks.path("--workdir", args.workdir)
        checks.integer("--seeds", args.seeds, 1, 1000)
        checks.integer("--epochs", args.epochs, 1, 100_000)
        runs = run_all(root, args.seeds, args.epochs)
    except ValueError as error:
        refuse(error)
    except OSError as error:
        refuse(error, code=1)
    print_table(runs, args.seeds, args.epochs)
    save_picture(runs, root / "quickstart.png")
    print(f"picture: {root / 'quickstart.png'}    runs: {root}")


if __name__ == "__main__":
    main()
