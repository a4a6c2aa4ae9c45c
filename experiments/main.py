"""Trains one configuration, or resumes it.

python -m experiments.main --config=configs/digits.py --config.noise.rate=0.4 --workdir=DIR
"""

import contextlib
import json
import pathlib

from absl import app, flags, logging
from ml_collections import config_flags

from experiments import checks, keys
from experiments.flags import CONFIG, DATA_DIR, parser, refuse, stop

WORKDIR = flags.DEFINE_string("workdir", None, "Directory for what the run writes.", required=True)
COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0 of several.")
NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "How many processes train together.")
PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which of them this is, from 0.")
BESIDE = flags.DEFINE_multi_string(
    "beside", [], "A sweep's: workdir and seeds, as JSON, of one more run to train with this one."
)
parse = parser(__doc__, WORKDIR, COORDINATOR, NUM_PROCESSES, PROCESS_ID)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        refuse(ValueError(f"unexpected argument {argv[1]!r}: values are given as --name=value"))
    logging.set_verbosity(logging.WARNING)  # JAX reports each backend it does not find

    from experiments.runs import lock  # imported late, so that typos are reported at once

    with contextlib.ExitStack() as stack:
        try:
            trained = run(stack)
        except lock.Stopped as stopped:
            stop(f"{stopped}: saved; run the same command again to continue", stopped.code)
        except KeyboardInterrupt:  # before anything was trained
            stop("interrupted before anything was trained", 130)
        except (FloatingPointError, MemoryError, OSError) as error:
            refuse(error, code=1)
        except (ValueError, TypeError) as error:
            refuse(error)
    for results, path in trained:
        print(f"{summary(results)}; results in {path}")


def summary(results: dict) -> str:
    """The score of the last epoch, on test examples, or on validation examples without them."""
    score = results["score"]
    key = f"test_{score['key']}"
    last = results.get("last_epoch", {key: results[key].get("last")})  # older ones lack it
    for part in ("test", "validation"):
        value = last.get(f"{part}_{score['key']}")
        if value is not None:
            number = f"{score['scale'] * value:.2f}{score['unit']}"
            return f"{part} {score['name']} {number} in the last epoch"
    return "no test examples"


def wanted() -> list:
    """Returns the config and work directory of each requested run."""
    from experiments.runs.files import SEEDS

    found = [(CONFIG.value, WORKDIR.value)]
    for text in BESIDE.value:
        config = CONFIG.value.copy_and_resolve_references()
        try:
            own = json.loads(text)
            folder = own.pop("workdir")
            if not {*own} <= {*SEEDS}:
                raise KeyError
            config.update_from_flattened_dict(own)
        except (AttributeError, KeyError, TypeError, ValueError):
            said = f"--beside: expected a JSON object of workdir, {', '.join(SEEDS)}, got {text}"
            raise ValueError(said) from None
        found.append((config, folder))
    return found


def run(stack: contextlib.ExitStack) -> list:
    """Trains, and returns pairs of results and their path."""
    import jax
    import numpy as np

    from experiments.data.asked import check_labels
    from experiments.progress import console
    from experiments.runs import contents, files, identity, lock
    from experiments.training import build, devices, loop, seeds

    identity.check_complete(CONFIG.value.to_dict())
    given = config_flags.get_override_values(flags.FLAGS["config"])
    check_labels(CONFIG.value, given)
    flat = identity.flattened(CONFIG.value.to_dict())
    identity.check_asked([flat], given)
    if unread := identity.unread(flat, given):
        console.print(f"unread   this run does not read config.{', config.'.join(unread)}")
    contents.note(CONFIG.value)
    # One process needs no device for it; of several, the first alone is sure to see the files.
    if not devices.several(NUM_PROCESSES.value) and (found := finished()):
        return found
    files.compilation_cache()
    devices.start_processes(COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value)
    if jax.process_count() > 1:
        found = devices.by_the_first(finished)
        if devices.of_the_first(np.int32(bool(found))):
            return found or []
    stack.enter_context(devices.memory_errors())
    signal = stack.enter_context(lock.signals())  # after JAX, which handles SIGTERM itself
    if BESIDE.value:
        return run_all(stack, signal)
    path = devices.by_the_first(lambda: claim(stack, CONFIG.value, WORKDIR.value))
    path = path or checks.path("--workdir", WORKDIR.value).absolute()
    member = build.Member(CONFIG.value, built(CONFIG.value), path)
    if CONFIG.value.vmap_seeds > 1:
        return [(seeds.train_seeds(*member, signal), path / files.RESULTS)]
    return [(loop.train([member], signal)[0], path / files.RESULTS)]


def finished() -> list:
    """The result of a run that has finished before, as `run` returns it, or []: without devices."""
    from experiments.progress import console
    from experiments.runs import files, packed, stored
    from experiments.tasks import score_of

    config, root = CONFIG.value, checks.path("--workdir", WORKDIR.value).absolute()
    wanted = [(config.seed, root)]
    if config.vmap_seeds > 1:
        numbers = range(config.seed, config.seed + config.vmap_seeds)
        wanted = [(number, root / f"seed_{number}") for number in numbers]
    found = [stored.finished(path, config.to_dict() | {"seed": seed}) for seed, path in wanted]
    runs = [run for run in found if run is not None]
    if BESIDE.value or len(runs) < len(wanted):
        return []
    console.print("done     this run has finished before; nothing is trained")
    one = runs[0]
    known = {"score": score_of(one.results["config"])._asdict()} | one.results  # older have none
    return [(known, one.pack / packed.RUNS if one.pack else root / files.RESULTS)]


def run_all(stack: contextlib.ExitStack, signal) -> list:
    """Trains all valid runs; at the end, raises the error of the first invalid one."""
    import jax

    from experiments.progress import console
    from experiments.runs import files
    from experiments.runs.reading import json_object
    from experiments.training import build, seeds

    if jax.process_count() > 1 or CONFIG.value.vmap_seeds > 1:
        raise ValueError("--beside: expected one process, and vmap_seeds of 1")
    members, errors = [], []
    for config, folder in wanted():
        try:
            path = claim(stack, config, folder)
            members.append(build.Member(config, built(config), path))
        except ValueError as error:  # e.g. in use: train the others
            console.print(f"failed   {pathlib.Path(folder).absolute()}: {error}")
            errors.append(error)
    seeds.train_all(members, signal)
    if errors:
        raise errors[0]
    found = [one.path / files.RESULTS for one in members]
    return [(json_object(file), file) for file in found]


def claim(stack: contextlib.ExitStack, config, folder: str) -> pathlib.Path:
    """Makes and locks the work directory; raises if this config cannot start or resume there."""
    from experiments.runs import files, identity, lock, stored
    from experiments.training import checkpoint

    path = stack.enter_context(lock.claimed(folder))
    run = None if (path / files.CONFIG).exists() else stored.packed_at(path)
    if run is not None:
        command = f"python -m experiments.report unpack --workdir={run.pack}"
        said = f"is packed; {command} gives its files back"
        raise ValueError(f"--workdir: the run of {path} {said}")
    if not BESIDE.value or not files.is_done(path, identity.config_sha256(config.to_dict())):
        checkpoint.check_config(path, config)
    return path


def built(config):
    from experiments.training import build

    try:
        return build.build_run(config, DATA_DIR.value)
    except (AttributeError, KeyError) as error:  # e.g. a key that a user's config lacks
        raise ValueError(f"--config: {keys.in_words(error)}") from error


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
