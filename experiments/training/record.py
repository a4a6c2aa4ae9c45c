"""What a run reports: a row an epoch, and at the end a summary."""

import jax
import numpy as np

from experiments import data
from experiments.runs import files
from experiments.runs import samples as examples
from experiments.runs.selection import selected_scores
from experiments.tasks import score_of
from experiments.training.build import Run
from superloss_jax import SuperLossState

GROUPS = ("all", "clean", "wrong")
QUANTITIES = ("count", "loss", "accuracy", "sigma")


def epoch_row(epoch: int, sums, evaluated, loss_state, samples: dict) -> dict:
    """One row of metrics.jsonl; train metrics are averages over the epoch, as it was trained."""
    sums, evaluated = jax.tree.map(lambda x: np.asarray(x, np.float64), (sums, evaluated))
    with np.errstate(invalid="ignore"):  # a group may be empty
        means = dict(zip(GROUPS, sums[:, 1:] / sums[:, :1], strict=True))
        held_out = {part: total[1:] / total[0] for part, total in evaluated.items()}
    row = {"train_loss": means["all"][0], "train_accuracy": means["all"][1]}
    for group in ("clean", "wrong"):
        names = (f"{name}_{group}" for name in QUANTITIES[1:])
        row |= dict(zip(names, means[group], strict=True))
    row |= {"tau": tau(loss_state)}
    row |= examples.areas(samples) | examples.memorised(samples)
    for part, (loss, accuracy) in held_out.items():
        row |= {f"{part}_loss": loss, f"{part}_accuracy": accuracy}
    return {"epoch": epoch} | {key: float(value) for key, value in row.items()}


def tau(loss_state) -> float:
    """SuperLoss's threshold, the mean of one for each class; NaN where there is none."""
    states = jax.tree.leaves(loss_state, is_leaf=lambda x: isinstance(x, SuperLossState))
    taus = [float(np.mean(state.tau)) for state in states if isinstance(state, SuperLossState)]
    return taus[-1] if taus else np.nan


def summary(config, run: Run, rows: list[dict], params, samples: dict) -> dict:
    """A pure function of config, versions and platform: no time, no host, no path."""
    content = {
        "config": config.to_dict(),
        "config_sha256": files.config_sha256(config.to_dict()),
        "versions": files.versions(),
        "platform": jax.devices()[0].device_kind,
        "devices": run.layout.whole.mesh.size,
        "x64": bool(jax.config.read("jax_enable_x64")),
        "num_params": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "noise": {
            "convention": config.noise.kind,
            "realised_rate": data.realised_rate(run.dataset.train),
            "labels_sha256": run.labels_sha256,
        },
        "test_accuracy": selected_scores(rows, score_of(config)),
        "detectors": examples.detectors(samples),
        "last_epoch": rows[-1],
    }
    return files.plain(content)
