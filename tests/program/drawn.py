"""Makes runs of random numbers for drawing tests, and reads what a drawing shows."""

import numpy as np

from configs import digits
from experiments.report.drawing import plt
from experiments.runs import files, samples
from experiments.tasks.scores import ACCURACY

EPOCHS = 7
# Figures of what these runs do not have: other tasks, or a memory.
NEEDING_MORE = {"predictions", "tenths", "pseudo_labels", "memory", "pairs"}
ARGS = {"output": None, "rows": None, "split": 5, "columns": None}


def examples(seed, number=200):
    rng = np.random.default_rng(seed)
    clean = rng.integers(0, 5, number)
    label = np.where(rng.random(number) < 0.4, (clean + 1 + rng.integers(0, 4, number)) % 5, clean)
    rows = {"index": np.arange(number), "target": label, "clean_target": clean}
    rows["wrong"] = (label != clean).astype(np.int8)
    rows["predicted"] = rng.integers(-1, 5, number)  # -1: not seen
    losses = (rng.exponential(size=(EPOCHS, number)) + (label != clean)).astype(np.float32)
    return rows | {"loss": losses[-1], "weight": np.exp(-losses[-1])}, losses


def make_run(root, method, rate, seed, wanted=(), epochs=EPOCHS, more=None, **overrides):
    """Writes a run of random numbers in the program's format; `more` overrides its results."""
    config = digits.get_config()
    config.epochs = epochs
    changes = {"loss.method": method, "noise.rate": rate, "seed": seed} | overrides
    config.update_from_flattened_dict(changes)
    # Like seeds trained at once, whose directories are all called seed_0, seed_1, ...
    path = root / f"{method}-{rate}-{len(list(root.glob('*')))}" / "seed_0"
    path.mkdir(parents=True)
    rng = np.random.default_rng([seed, int(100 * rate), *map(ord, method)])
    keys = ["test_accuracy", "validation_accuracy", "accuracy_clean", "accuracy_wrong", *wanted]
    rows = [{"epoch": i + 1} | {key: rng.random() for key in keys} for i in range(epochs)]
    for row in rows:
        if rate == 0:
            row["accuracy_wrong"] = None
        row["tau"] = row["test_accuracy"] + 1 if method == "superloss" else None
    results = {
        "config": config.to_dict(), "versions": {"jax": "1.0"}, "platform": "cpu", "devices": 1,
        "x64": False, "noise": {"convention": "x", "realised_rate": rate}, "detectors": {},
        "test_accuracy": {"last": rows[-1]["test_accuracy"]}, "score": ACCURACY._asdict(),
    } | (more or {})  # fmt: skip
    files.write_json(path / files.CONFIG, results["config"])
    files.write_json(path / files.RESULTS, results)
    (path / files.METRICS).write_text("".join(map(files.line, rows)))
    return path


def with_examples(path, seed=0):
    rows, losses = examples(seed)
    for epoch, loss in enumerate(losses, 1):
        samples.write_losses(path, epoch, rows | {"loss": loss})
    samples.write(path, rows)
    return rows, losses


def swept(root):
    """Two methods, noise rates and seeds; one seed with noise also records every example."""
    for method in ("cross_entropy", "superloss"):
        for rate in (0.0, 0.4):
            for seed in (0, 1):
                path = make_run(root, method, rate, seed)
                if rate and not seed:
                    with_examples(path, ["superloss", "cross_entropy"].index(method))
    return root


def closing():
    yield
    plt.close("all")


def lines_of(axes):
    return {
        line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")
    }


def note_of(figure):
    return figure.get_supxlabel().replace("\n", " ")
