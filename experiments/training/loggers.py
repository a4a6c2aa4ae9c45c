"""Sends each epoch's row of metrics to TensorBoard or Weights & Biases, if the config asks for it.

A logger is started with the rows so far and called with each new one. After a resume it shows each
epoch once. If it fails, the run goes on without it: metrics.jsonl has every row.
"""

import contextlib
import importlib.util
import json
import math
import os
import pathlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from experiments.checks import choose
from experiments.progress import console
from experiments.runs import files, identity
from experiments.runs.reading import json_object

TENSORBOARD, WANDB = "tensorboard", "wandb.json"


class Logger(NamedTuple):
    row: Callable[[int, dict], None]  # (epoch, its metrics)
    close: Callable[[], None]


def tensorboard(config: dict, path: pathlib.Path, rows: list[dict]) -> Logger:
    """Writes the events of a run anew, so that an epoch that is trained again stands there once."""
    import tensorboardX

    for file in (path / TENSORBOARD).glob("events.out.tfevents.*"):
        file.unlink()
    # A TensorBoard that shows the run meanwhile forgets the events from step 1 on.
    writer = tensorboardX.SummaryWriter(str(path / TENSORBOARD), purge_step=1)
    writer.add_text("config", f"    {json.dumps(identity.meaning(config))}")

    def row(epoch, values):
        for name, value in numbers(values).items():
            writer.add_scalar(name, value, epoch)
        writer.flush()

    for one in rows:
        row(one["epoch"], one)
    return Logger(row, writer.close)


def wandb(config: dict, path: pathlib.Path, rows: list[dict]) -> Logger:
    """Continues the W&B run that wandb.json names, after the epochs that the service has.

    Offline nobody knows these, so each start has all rows, and the newest directory is the one to
    send.
    """
    import wandb as service

    note, sha256 = path / WANDB, identity.config_sha256(config)
    known = json_object(note) if note.exists() else {}
    if not rows and known.get("config_sha256") != sha256:  # of another run, from here before
        known = {}
    name = known.get("id", secrets.token_hex(8))
    files.write_json(note, {"id": name, "config_sha256": sha256})
    run = service.init(
        project=os.environ.get("WANDB_PROJECT", "superloss_jax"),
        id=name,
        name=path.name,
        dir=path,
        config=identity.meaning(config),
        resume="allow",
        reinit="create_new",  # several runs may be trained at once
        settings=service.Settings(console="off", silent=True, finish_timeout=60),
    )
    first = run.starting_step

    def row(epoch, values):
        if epoch >= first:
            run.log(numbers(values), step=epoch, commit=True)

    for one in rows:
        row(one["epoch"], one)
    return Logger(row, run.finish)


LOGGERS: dict[str, Callable] = {"tensorboard": tensorboard, "wandb": wandb}
PACKAGES = {"tensorboard": "tensorboardX", "wandb": "wandb"}


def numbers(row: dict) -> dict[str, float]:
    """Returns what a row has of finite numbers: a group that is empty has none."""
    return {
        name: value
        for name, value in row.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }


def logger_of(config) -> str:
    return config["report"].get("logger", "")


def check(config) -> None:
    """Raises ValueError if the config names no logger, or one whose package is missing."""
    if name := logger_of(config):
        choose("config.report.logger", name, LOGGERS)
        spec = importlib.util.find_spec(package := PACKAGES[name])
        if spec is None or spec.origin is None:  # without an origin it is but a folder of this name
            said = f"{name} needs a package that is not installed: pip install {package}"
            raise ValueError(f"config.report.logger: {said}")


@contextlib.contextmanager
def started(members: Sequence, rows: list[list[dict]]) -> Iterator[Callable[[int, dict], None]]:
    """Yields `log(i, row)`, which sends a row of the i-th run's metrics to that run's logger."""
    loggers: list[Logger | None] = [
        start(config, path, known) for (config, _, path), known in zip(members, rows, strict=True)
    ]

    def log(i: int, row: dict) -> None:
        one = loggers[i]
        if one is not None and not surely(one.row, row["epoch"], row):
            loggers[i] = None

    try:
        yield log
    finally:
        for one in filter(None, loggers):
            surely(one.close)


def start(config, path: pathlib.Path, rows: list[dict]) -> Logger | None:
    make = LOGGERS.get(logger_of(config))
    if make is None or not files.first_process():
        return None
    found: list[Logger] = []
    surely(lambda: found.append(make(config.to_dict(), path, rows)))
    return found[0] if found else None


def surely(call: Callable, *given: Any) -> bool:
    """Calls a logger, and says in one line if it fails; returns whether it succeeded."""
    try:
        call(*given)
    except Exception as error:  # whatever another package raises: the run is worth more
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        console.print(f"logger   failed, and the run goes on without it: {reason}")
        return False
    return True
