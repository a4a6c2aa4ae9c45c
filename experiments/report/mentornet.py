"""A MentorNet, learned from what a finished run has recorded."""

import pathlib

import jax
import numpy as np

from experiments import checks
from experiments.runs import ranking, samples, stored
from experiments.training import mentors

FILE = "mentornet.npz"


def mentornet(args) -> None:
    """A MentorNet, for `loss.method=learned_mentornet`: learns which losses wrong labels have."""
    path = checks.path("--workdir", args.workdir)
    out = checks.path("--output", args.output) if args.output else path / FILE
    checks.seed("--seed", args.seed)
    checks.within("--known", args.known, 1e-9, 1)
    checks.within("--first", args.first, 0, 1)
    last = args.first if args.last is None else args.last
    checks.within("--last", last, args.first, 1)
    rows, losses, percents = recorded(path, args.first, last)
    known = known_places(rows, args.known, args.seed)
    right = rows["wrong"][known] == 0
    labels, number = labels_of(path, rows, args.labels)
    percentile = max(50.0, 100 * float(right.mean()))
    # All losses make the percentile; only those of the known examples are learned from.
    every = mentors.seen(losses, labels, rows["wrong"] == 0, percents, percentile)
    chosen = known + len(rows["wrong"]) * np.arange(len(losses))[:, None]
    held = np.arange(len(known)) % 5 == 4  # of examples in a random order
    print(
        f"learns from {len(known):,} of {len(rows['wrong']):,} examples, {np.sum(~right):,} wrong,"
        f" in {len(losses)} epoch(s); a fifth of them is held out", flush=True,
    )  # fmt: skip
    params = mentors.fit(every.rows(chosen[:, ~held].ravel()), number, args.seed, args.steps)
    told(params, every.rows(chosen[:, held].ravel()))
    mentors.write(out, mentors.Mentor(params, percentile, (int(percents[0]), int(percents[-1]))))
    print(out)


def recorded(path: pathlib.Path, first: float, last: float):
    """Returns the samples of a run, its losses in some epochs, and how far it then was, per cent.

    Raises:
      ValueError: if there is no such run, or it has not kept the losses of its epochs.
    """
    try:
        epochs = stored.config_of(path)["epochs"]
        rows = samples.read_samples(path)
        losses = samples.read_losses(path, epochs)
    except (OSError, ValueError) as error:
        raise ValueError(f"--workdir: expected a finished run: {error}") from None
    if "object" in rows or losses.shape[1] != len(rows["wrong"]):
        raise ValueError(f"--workdir: {path}: expected a run with a loss for each example")
    begun, ended = (min(int(share * epochs + 1e-9), epochs - 1) for share in (first, last))
    chosen = np.arange(begun, ended + 1)
    if not np.isfinite(losses[chosen]).all():
        said = "expected a loss of each example in each epoch, got NaN"
        raise ValueError(f"--workdir: {path}: {said}")
    return rows, losses[chosen], 100 * chosen // epochs


def known_places(rows: samples.Samples, share: float, seed: int) -> np.ndarray:
    """Returns some examples, in a random order, whose labels are known to be right or wrong.

    Raises:
      ValueError: if they are too few.
    """
    known = np.flatnonzero(rows["wrong"] >= 0)
    order = np.random.default_rng(seed).permutation(known)
    chosen = order[: round(share * len(known))]
    wrong = int(np.sum(rows["wrong"][chosen]))
    if min(wrong, len(chosen) - wrong) < 5:
        said = f"expected 5 right and 5 wrong labels, got {len(chosen) - wrong} and {wrong}"
        raise ValueError(f"--known: {said}, of {len(known)} that the run knows")
    return chosen


def labels_of(path: pathlib.Path, rows: samples.Samples, asked: bool) -> tuple[np.ndarray, int]:
    """Returns each example's label, and how many there are; without --labels all are 0."""
    if not asked:
        return np.zeros(len(rows["wrong"]), np.int32), 1
    labels = rows.get("target", np.zeros(0))
    if labels.dtype.kind not in "iu":
        raise ValueError(f"--labels: the run in {path} has no classes")
    return labels, int(labels.max()) + 1


def told(params, held: mentors.Seen) -> None:
    """Prints how well MentorNet does on what it has not learned from."""
    weights = np.asarray(jax.nn.sigmoid(mentors.logits_of(params, held)))
    right = np.asarray(held.right) == 1
    parts = [
        f"{name} {weights[which].mean():.3f}"
        for name, which in (("right", right), ("wrong", ~right)) if which.any()
    ]  # fmt: skip
    if right.any() and not right.all():
        parts.append(f"AUROC {ranking.auroc(right, weights):.4f}")
    print(f"held out: mean weight of labels that are {', '.join(parts)}")


def add_command(commands) -> None:
    command = commands.add_parser("mentornet", help=mentornet.__doc__)
    command.add_argument(
        "--workdir", required=True, help="a finished run with config.report.losses"
    )
    command.add_argument("--output", help=f"file to write (default: {FILE} in the run's directory)")
    command.add_argument(
        "--known", type=float, default=0.1, help="share of examples that are learned from (0.1)"
    )
    command.add_argument(
        "--first", type=float, default=0.18, help="how far the run was, a share of it (0.18)"
    )
    command.add_argument(
        "--last", type=float, help="learn from all epochs until then (default: from one epoch)"
    )
    command.add_argument("--labels", action="store_true", help="learn about each class by itself")
    command.add_argument("--steps", type=checks.natural, default=30_000, help="(default 30000)")
    command.add_argument("--seed", type=int, default=0, help="of what is drawn (default 0)")
    command.set_defaults(call=mentornet)
