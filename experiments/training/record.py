"""Records a run: a row of metrics per epoch, and a summary at the end."""

import operator
import pathlib

import jax
import numpy as np

from experiments.runs import files, identity, lock, samples
from experiments.runs.samples import Samples
from experiments.runs.selection import best_validation, selected_scores
from experiments.tasks.base import UNKNOWN
from experiments.training.build import Member, Run
from experiments.training.evaluation import Evaluated
from experiments.training.step import TrainState, group_names, quantity_names
from superloss_jax import SuperLossState, memory


def samples_of(run: Run, state: TrainState) -> Samples:
    seen = {name: nan_if_unknown(values) for name, values in state.seen.items()}
    train, objects = run.dataset.train, run.problem.objects
    rows = samples.collect(train, wrong_targets(run), seen, state.past, state.loss_state)
    if objects is None:
        return rows
    rows |= {"target": objects.target(train.targets), "clean_target": train.clean_targets}
    return samples.of_objects(rows)


def nan_if_unknown(values) -> np.ndarray:
    """Returns values of the device, NaN where they are unknown."""
    values = np.asarray(values)
    return np.where(values == UNKNOWN, np.nan, values) if values.dtype.kind == "f" else values


def wrong_targets(run: Run) -> np.ndarray:
    """Returns 1 where a training target is wrong, 0 where it is right, -1 where that is not known.

    It is -2 where there is no target: in the task's group "unlabelled".
    """
    train, groups = run.dataset.train, run.problem.groups
    objects = (run.problem.objects.number,) if run.problem.objects else ()
    known = np.full((len(train.index), *objects), -1, np.int8)
    for value, name in ((0, "clean"), (1, "wrong"), (samples.NO_TARGET, "unlabelled")):
        if name in groups:
            known[np.asarray(groups[name](train.targets, train.clean_targets))] = value
    return known


def realised_rate(run: Run) -> float | None:
    """The part of wrong targets; None where it is not known."""
    known = wrong_targets(run)
    return float((known == 1).sum() / (known >= 0).sum()) if (known >= 0).any() else None


def epoch_row(run: Run, epoch: int, state: TrainState, evaluated, rows: Samples) -> dict:
    """Builds a row of metrics.jsonl; training metrics are averages over the epoch's steps."""
    sums, held_out_sums = jax.tree.map(
        lambda x: np.asarray(x, np.float64),
        (state.sums, {part: one.sums for part, one in evaluated.items()}),
    )
    names = quantity_names(run)
    with np.errstate(invalid="ignore"):  # a group may be empty
        means = dict(zip(group_names(run), sums[0] / sums[1], strict=True))
        held_out = {part: total / counts for part, (total, counts) in held_out_sums.items()}
    everything = dict(zip(names, means.pop("all"), strict=True))
    row = {f"train_{name}": everything[name] for name in names if name != "sigma"}
    for group, values in means.items():
        row |= dict(zip((f"{name}_{group}" for name in names), values, strict=True))
    row |= {"tau": tau(state.loss_state)} | remembered(state.loss_state)
    row |= samples.areas(rows) | run.problem.examine(rows)
    for part, values in held_out.items():
        row |= {f"{part}_{name}": value for name, value in zip(names, values, strict=False)}
    return {"epoch": epoch} | {key: float(value) for key, value in row.items()}


def measured(run: Run, evaluated: dict[str, Evaluated]) -> tuple[dict[str, float], Samples]:
    """Returns what the task measures of whole splits, by column, and what it keeps of one."""
    columns: dict[str, float] = {}
    kept: Samples = {}
    if (whole := run.problem.evaluate) is None:
        return columns, kept
    for part, one in evaluated.items():
        examples = getattr(run.dataset, part)
        found = [
            whole.measure(joined(batches, len(examples.index)), examples)
            for batches in by_network(run, one.collected)
        ]
        for name in whole.names:
            columns[f"{part}_{name}"] = float(np.mean([numbers[name] for numbers, _ in found]))
        kept = found[0][1] if part == whole.kept else kept
    return columns, kept


def by_network(run: Run, batches: list) -> list[list]:
    if run.networks == 1:
        return [batches]
    return [jax.tree.map(operator.itemgetter(i), batches) for i in range(run.networks)]


def joined(batches: list, size: int):
    """Joins batches of trees along their first axis, and cuts off the padding at the end."""
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:size], *batches)


def tau(loss_state) -> float:
    """Returns SuperLoss's threshold, averaged over classes or kinds of units; NaN if none."""
    states = samples.states_of(loss_state, SuperLossState)
    return float(np.mean(states[-1].tau)) if states else np.nan


def remembered(loss_state) -> dict[str, float]:
    """Returns remembered SuperLoss's memory and its own threshold; {} for other methods."""
    for state in samples.states_of(loss_state, memory.RememberedState):
        means = np.mean(state.memory), np.mean(state.tau)  # over kinds of units
        return {"memory": float(means[0]), "memory_tau": float(means[1])}
    return {}


def summary(config, run: Run, rows: list[dict], params, seen: Samples) -> dict:
    """Builds results.json. It holds no time, host or path, so that equal runs have equal files."""
    content = {
        "config": config.to_dict(),
        "config_sha256": identity.config_sha256(config.to_dict()),
        "versions": files.versions(),
        "platform": jax.devices()[0].device_kind,
        "devices": run.layout.whole.mesh.size,
        "x64": bool(jax.config.read("jax_enable_x64")),
        "num_params": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "noise": {"convention": "none", "realised_rate": realised_rate(run)},
        **run.problem.facts,
        "score": run.score._asdict(),
        f"test_{run.score.key}": selected_scores(rows, run.score),
        "detectors": samples.detectors(seen),
        "last_epoch": rows[-1],
    }
    return identity.plain(content)


def write_row(member: Member, epoch: int, earlier: list[dict], state: TrainState, evaluated):
    """Writes an epoch's row and what is kept of its examples; returns the row.

    Of `state` only what is recorded is needed. `earlier` are the rows of the epochs before.
    """
    config, run, path = member
    lock.check_held(path)
    known = samples_of(run, state)
    columns, kept = measured(run, evaluated)
    row = epoch_row(run, epoch, state, evaluated, known) | columns
    is_best = best_validation([*earlier, row], run.score) == epoch
    if run.problem.evaluate and kept:
        keep(path, kept, run.problem.evaluate.kept, is_best)
    if config.report.losses:
        samples.write_losses(path, epoch, known)
    if is_best:
        samples.write(path, known, files.BEST)
    files.append_row(path / files.METRICS, row)
    return row


def keep(path: pathlib.Path, kept: Samples, split: str, is_best: bool) -> None:
    """Writes what a run keeps of a split: of the newest epoch, or of the best one on validation."""
    if split == "test":
        samples.write(path, kept, files.TEST)
    elif is_best:
        samples.write(path, kept, files.HELD_OUT)


def finish(member: Member, rows: list[dict], state: TrainState) -> dict:
    """Writes a finished run's files; results.json comes last, since it marks the run as done."""
    config, run, path = member
    lock.check_held(path)
    known = samples_of(run, state)
    samples.write(path, known)
    files.replace(path / files.METRICS, lines(rows).encode())  # repairs what a kill left
    results = summary(config, run, rows, state.params, known)
    if (path / files.BEST).exists():
        results["detectors_best"] = samples.detectors(samples.read_samples(path, files.BEST))
    if (number := files.at_once(path).get("number", 1)) > 1:
        results["vmapped"] = number  # vmapped steps are not bit-identical
    files.write_json(path / files.RESULTS, results)
    return results


def lines(rows: list[dict]) -> str:
    return "".join(files.line(row) for row in rows)
