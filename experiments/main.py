"""Trains one configuration, or resumes it.

python -m experiments.main --config=configs/digits.py --config.noise.rate=0.4 --workdir=DIR
"""

import contextlib
import json
import pathlib

from absl import app, flags, logging

from experiments import checks
from experiments.flags import CONFIG, DATA_DIR, parse, refuse

WORKDIR = flags.DEFINE_string("workdir", None, "Directory for what the run writes.", required=True)
COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0 of several.")
NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "How many processes train together.")
PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which of them this is, from 0.")
BESIDE = flags.DEFINE_multi_string(
    "beside", [], "A sweep's: workdir and seeds, as JSON, of one more run to train with this one."
)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        refuse(ValueError(f"unexpected argument {argv[1]!r}: values are given as --name=value"))
    logging.set_verbosity(logging.WARNING)  # JAX reports each backend it does not find

    from experiments.runs import lock  # imported late, so that typos are reported at once

    with contextlib.ExitStack() as stack:
        try:
            trained = run(stack)
        except lock.Stopped as stopped:
            refuse(InterruptedError(f"{stopped}: saved; the same command goes on"), stopped.code)
        except KeyboardInterrupt:  # before anything was trained
            refuse(InterruptedError("interrupted"), code=130)
        except (FloatingPointError, MemoryError, OSError) as error:
            refuse(error, code=1)
        except (ValueError, TypeError) as error:
            refuse(error)
    for results, path in trained:
        score = results["score"]
        last = results[f"test_{score['key']}"].get("last")
        tested = "no test examples"
        if last is not None:
            tested = f"test {score['name']} {score['scale'] * last:.2f}{score['unit']}"
        print(f"{tested} in the last epoch; results in {path}")


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
    from experiments.models import cpu
    from experiments.runs import files, identity, lock
    from experiments.training import build, devices, loop, seeds

    identity.check_complete(CONFIG.value.to_dict())
    files.note_content(CONFIG.value)
    cpu.keep_freed_memory()
    files.compilation_cache()
    devices.start_processes(COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value)
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
    if not (path / files.CONFIG).exists() and stored.config_of_packed(path) is not None:
        said = "is packed; python -m experiments.report unpack gives its files back"
        raise ValueError(f"--workdir: the run of {path} {said}")
    if not BESIDE.value or not files.is_done(path, identity.config_sha256(config.to_dict())):
        checkpoint.check_config(path, config)
    return path


def built(config):
    from experiments.training import build

    try:
        return build.build_run(config, DATA_DIR.value)
    except (AttributeError, KeyError) as error:  # e.g. a key that a user's config lacks
        raise ValueError(f"--config: {' '.join(map(str, error.args))}") from error


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
