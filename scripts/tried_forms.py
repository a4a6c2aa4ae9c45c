"""Compares the forms of remembered SuperLoss that were tried, and sizes of the held-out set.

    python -m scripts.tried_forms [--out docs/tried_forms.json]

Digits, as in configs/remembered_digits.py: MLP, 60 and 240 epochs, 3 seeds, one thread. It trains
what the file lacks, adds it to the file, and prints the tables of docs/remembered.md. All of it is
some 260 runs of 3 to 12 s.
A form that was changed has to be deleted from the file.
"""

import argparse
import json
import os
import pathlib
import statistics
import tempfile
from typing import Any, NamedTuple

import jax
import numpy as np

from configs import remembered_digits
from experiments import streams
from experiments.models import cpu
from experiments.progress import console
from experiments.runs import files
from experiments.training import build, loop
from scripts import forms
from scripts.forms import Form
from superloss_jax import noise

SEEDS = 3
FULL = Form(g=1.0)
HELD_OUT = Form(signal="excess")
METHOD = "loss.method"
GUESSED = {METHOD: "remembered_superloss", "loss.remembered_superloss.memory": "training"}
# Name, what it changes, and the form, or the overrides of a config of the program.
TRIED: tuple[tuple[str, str, Form | dict[str, Any]], ...] = (
    ("cross entropy", "no method", {METHOD: "cross_entropy"}),
    ("SuperLoss", "threshold: a moving mean; no memory", {METHOD: "superloss"}),
    ("remembered SuperLoss", "g is moved by held-out losses", {METHOD: "remembered_superloss"}),
    ("g guessed", "g is moved by the training losses of suspects, and never falls", GUESSED),
    ("ELR", "a rival, for comparison", {METHOD: "early_learning"}),
    ("full memory", "g = 1 from the first step", FULL),
    ("full memory, lam 4", "the same, with weights nearer to 1", FULL._replace(lam=4.0)),
    ("mean", "full memory; the threshold is the moving mean", FULL._replace(full="mean")),
    ("no fading", "full memory; lam does not fall with visits", FULL._replace(fades=False)),
    ("forgetting", "full memory; 0.9 of it stays at each visit", FULL._replace(keep=0.9)),
    ("sigma to e", "full memory; sigma may be e, not 1", FULL._replace(wide=True)),
    ("entropy", "full memory; entropy of sigma, not log(sigma)^2", FULL._replace(entropy=True)),
    ("low threshold", "SuperLoss with the memory's threshold, no memory", Form(plain="soft")),
    ("low threshold, lam 0.1", "the same, harsher", Form(plain="soft", lam=0.1)),
    ("ratchet", "SuperLoss, lam 0.25, whose moving mean may not fall; no memory",
     Form(plain="highest", lam=0.25)),
    ("frozen", "SuperLoss, lam 0.25, whose moving mean stops after 5 epochs; no memory",
     Form(plain="frozen", lam=0.25)),
    ("unweighted", "the plain loss times 1 - g plus the full memory's times g",
     HELD_OUT._replace(unweighted=True)),
    ("g now", "g is this epoch's signal, not the sum of all", HELD_OUT._replace(law="now")),
    ("g ratchet", "g is the largest signal so far", HELD_OUT._replace(law="highest")),
    ("g rises", "g is the sum of positive signals", HELD_OUT._replace(law="rises")),
    ("cautious", "the signal less one standard error", HELD_OUT._replace(signal="cautious")),
    ("suspects", "the signal is the share of suspects that are fitted; no held-out losses",
     HELD_OUT._replace(signal="suspects")),
    ("mean losses", "the signal is 1 - mean training loss / mean held-out loss",
     HELD_OUT._replace(signal="means")),
    ("distance", "the signal is how far the shares below a loss are apart at most "
     "(Kolmogorov-Smirnov)", HELD_OUT._replace(signal="distance")),
)  # fmt: skip
SIZES = (0, 20, 50, 200, 1000)
COMPARED = ("SuperLoss", "remembered SuperLoss", "g guessed")
RATES = (0.0, 0.2, 0.4, 0.6, 0.8)  # of wrong labels among the held-out ones


class Point(NamedTuple):
    """What one run is."""

    name: str
    rate: float = 0.4  # of wrong training labels
    validation: int = 200
    held_out: float = 0.4  # rate of wrong held-out labels, where it is not that of training
    epochs: int = 60
    seed: int = 0


def points() -> list[Point]:
    """Returns all runs, each once."""
    wanted = [point for name, *_ in TRIED for point in of_form(name)]
    wanted += [Point(name, validation=size) for size in SIZES for name in of_size(size)]
    wanted += [Point("remembered SuperLoss", held_out=rate) for rate in RATES]
    return [one._replace(seed=seed) for one in dict.fromkeys(wanted) for seed in range(SEEDS)]


def of_form(name: str) -> tuple[Point, Point, Point]:
    return Point(name), Point(name, epochs=240), Point(name, rate=0.0, held_out=0.0)


def of_size(size: int) -> list[str]:
    return [name for name in COMPARED if size or name != "remembered SuperLoss"]


# --- A run. ---------------------------------------------------------------------------------------


def built(point: Point):
    """Returns the config and the run of a point."""
    [form] = (form for name, _, form in TRIED if name == point.name)
    config = remembered_digits.get_config()
    config.devices, config.checkpoint.every_minutes = 1, 0
    seeds = dict.fromkeys(("seed", "noise.seed", "data.split_seed"), point.seed)
    own = {} if isinstance(form, Form) else form
    overrides = seeds | {"noise.rate": point.rate, "data.validation": point.validation} | own
    overrides["epochs"] = point.epochs
    if not point.validation:
        overrides["report.selection"] = ("last",)
    config.update_from_flattened_dict(overrides)
    run = build.build_run(config)
    if isinstance(form, Form):
        run = exchanged(run, form)
    if point.held_out != point.rate:
        validation = relabelled(run.dataset.validation, point.held_out, point.seed)
        run = run._replace(dataset=run.dataset._replace(validation=validation))
    return config, run


def exchanged(run, form: Form):
    """Returns the run with a form in place of its method."""

    def advance(state, losses, where, kind):
        return forms.advance(form, state, losses, where)

    return run._replace(method=forms.transform(form, run.num_examples), advance=advance)


def relabelled(examples, rate: float, seed: int):
    """Returns examples of which another share has wrong labels."""
    matrix = np.asarray(noise.transition_matrix("symmetric_exclusive", rate, 10))
    key = jax.random.key(seed + 1000)  # not that of the training labels
    targets = np.asarray(noise.corrupt_labels(key, examples.clean_targets, matrix))
    return examples._replace(targets=targets)


def measure(point: Point) -> dict[str, Any]:
    """Trains, and returns what the tables show."""
    config, run = built(point)
    with tempfile.TemporaryDirectory() as folder:
        member = loop.Member(config, run, pathlib.Path(folder))
        last = loop.train([member])[0]["last_epoch"]
    fitted, memory = last["accuracy_wrong"], last.get("memory")
    return point._asdict() | {
        "train": len(run.dataset.train.index), "accuracy": last["test_accuracy"],
        "fitted": fitted, "memory": memory,
    }  # fmt: skip


# --- Tables. --------------------------------------------------------------------------------------


def shown(values: list[float]) -> str:
    mean, sd = statistics.mean(values), statistics.stdev(values)
    return f"{100 * mean:.1f} ± {100 * sd:.1f}"


def cells(rows: list[dict]) -> tuple[str, str, str]:
    """Returns test accuracy, share of wrong labels fitted, and the range of g at the end."""
    fitted = [row["fitted"] for row in rows if row["fitted"] is not None]
    g = [row["memory"] for row in rows if row["memory"] is not None]
    return (
        shown([row["accuracy"] for row in rows]),
        f"{100 * statistics.mean(fitted):.1f}" if fitted else "-",
        spread(g) if g else "-",
    )


def spread(values: list[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def table(head: str, rows) -> str:
    columns = head.count("|") - 1
    lines = [head, "|" + " --- |" * columns]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def tables(rows: list[dict]) -> list[str]:
    """Returns the tables of docs/remembered.md."""

    def of(point: Point) -> list[dict]:
        fixed = point._asdict() | {"seed": None}
        return [row for row in rows if {key: row[key] for key in fixed} | {"seed": None} == fixed]

    tried = []
    for name, changes, _ in TRIED:
        noisy, late, clean = (cells(of(point)) for point in of_form(name))
        tried.append((name, changes, *noisy, *late[:2], clean[0], clean[2]))
    sizes = []
    for size in SIZES:
        found = {name: of(Point(name, validation=size)) for name in of_size(size)}
        own = cells(found["remembered SuperLoss"]) if size else ("-",) * 3
        first, guessed = (cells(found[name])[0] for name in ("SuperLoss", "g guessed"))
        sizes.append((str(size), str(found["SuperLoss"][0]["train"]), first, guessed, *own))
    noises = [
        (f"{rate:g}", *cells(of(Point("remembered SuperLoss", held_out=rate)))) for rate in RATES
    ]
    return [
        table("| form | what it changes | noise 0.4 | wrong labels fitted | g at the end |"
              " 240 epochs | wrong labels fitted | noise 0 | g at the end |", tried),
        table("| held out | trained on | SuperLoss | g guessed | remembered SuperLoss |"
              " wrong labels fitted | g at the end |", sizes),
        table("| wrong held-out labels | remembered SuperLoss | wrong labels fitted |"
              " g at the end |", noises),
    ]  # fmt: skip


def main() -> None:
    streams.keep()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default="docs/tried_forms.json")
    args = parser.parse_args()
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    cpu.keep_freed_memory()  # as the program does
    files.compilation_cache()
    rows = json.loads(args.out.read_text()) if args.out.exists() else []
    names = Point._fields
    done = {tuple(row[name] for name in names) for row in rows}
    left = [point for point in points() if tuple(point) not in done]
    for number, point in enumerate(left, 1):
        console.print(f"run      {number}/{len(left)}: {point}")
        rows.append(measure(point))
        lines = ",\n".join(map(json.dumps, rows))
        files.replace(args.out, f"[\n{lines}\n]\n".encode())
    print("\n\n".join(tables(rows)))


if __name__ == "__main__":
    main()
