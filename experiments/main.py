"""Trains one configuration, or goes on where it stopped.

python -m experiments.main --config=configs/digits.py --config.noise.rate=0.4 --workdir=DIR
"""

import contextlib
import functools
import json
import pathlib

from absl import app, flags, logging

from experiments.command import CONFIG, DATA_DIR, parse, refuse

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
    from experiments import safety  # after the flags: a typo is answered at once

    with contextlib.ExitStack() as stack:
        try:
            trained = run(stack)
        except safety.Stopped as stopped:
            refuse(InterruptedError(f"{stopped}: saved; the same command goes on"), stopped.code)
        except KeyboardInterrupt:  # before anything was trained
            refuse(InterruptedError("interrupted"), code=130)
        except (FloatingPointError, OSError) as error:
            refuse(error, code=1)
        except (ValueError, TypeError) as error:
            refuse(error)
    for results, path in trained:
        accuracy = results["test_accuracy"].get("last")
        tested = "no test images" if accuracy is None else f"test accuracy {accuracy:.2%}"
        print(f"{tested} in the last epoch; results in {path}")


def wanted() -> list:
    """The config and work directory of each run that is asked for."""
    found = [(CONFIG.value, WORKDIR.value)]
    for text in BESIDE.value:
        config, own = CONFIG.value.copy_and_resolve_references(), json.loads(text)
        folder = own.pop("workdir")
        config.update_from_flattened_dict(own)
        found.append((config, folder))
    return found


def run(stack: contextlib.ExitStack) -> list:
    """Trains, and returns each result with its path."""
    from experiments import checkpoint, devices, fast, safety, seeds, setup, train, workdir

    fast.keep_freed_memory()
    workdir.compilation_cache()
    devices.start_processes(COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value)
    signal = stack.enter_context(safety.signals())  # after JAX, which would take SIGTERM

    def claim(config, folder):
        path = workdir.prepare(folder)
        stack.enter_context(safety.locked(path))
        if not BESIDE.value or not workdir.is_done(path, workdir.config_sha256(config.to_dict())):
            resumable = bool(checkpoint.steps(path / checkpoint.FOLDER))
            workdir.check_config(path, config.to_dict(), resumable)
        return path

    members = []
    for config, folder in wanted():
        path = devices.by_the_first(functools.partial(claim, config, folder))
        path = path or pathlib.Path(folder).expanduser().absolute()
        try:
            members.append(seeds.Member(config, setup.build(config, DATA_DIR.value), path))
        except (AttributeError, KeyError) as error:  # a config of the user's own
            raise ValueError(f"--config: {' '.join(map(str, error.args))}") from error
    if len(members) > 1:
        seeds.train_all(members, signal)
        files = [one.path / workdir.RESULTS for one in members]
        return [(json.loads(file.read_text()), file) for file in files]
    trainer = seeds.train_seeds if CONFIG.value.vmap_seeds > 1 else train.train
    config, built, path = members[0]
    return [(trainer(config, built, path, signal), path / workdir.RESULTS)]


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
