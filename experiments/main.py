"""Trains one configuration.

python -m experiments.main --config=configs/digits.py --config.noise.rate=0.4 --workdir=DIR
"""

import runpy
import sys
from typing import NoReturn

from absl import app, flags, logging
from ml_collections import config_flags

from experiments import choices

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Python file with get_config(); --config.x.y=VALUE overrides a value."
)
WORKDIR = flags.DEFINE_string("workdir", None, "Directory for what the run writes.", required=True)
DATA_DIR = flags.DEFINE_string("data_dir", None, "Directory with prepared TFDS data sets.")
flags.mark_flag_as_required("config")


def refuse(error: Exception, code: int = 2) -> NoReturn:
    """A user's mistake: one line, no traceback, before anything is trained."""
    message = " ".join(str(error).split())
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)


def parse(argv: list[str]) -> list[str]:
    try:
        rest = flags.FLAGS(argv)
        CONFIG.value.lock()  # a file that cannot be loaded shows itself only here
        return rest
    except flags.Error as error:
        head, traceback, _ = str(error).partition("Traceback")
        refuse(ValueError(head + str(error).splitlines()[-1] if traceback else head))
    except Exception as error:  # whatever the user's file or ml_collections raises
        refuse(ValueError(unknown_key(argv) or f"--config: {str(error).splitlines()[-1].strip()}"))


def unknown_key(argv: list[str]) -> str:
    """What is wrong with the first --config.x.y that the config lacks; empty if there is none."""
    try:
        file = next(arg.partition("=")[2] for arg in argv if arg.startswith("--config="))
        config = runpy.run_path(file)["get_config"]()
    except Exception:
        return ""
    for arg in argv:
        name = arg.partition("=")[0]
        section, where = config, "config"
        for key in name.split(".")[1:] if name.startswith("--config.") else ():
            try:
                section, where = choices.choose(where, key, section), f"{where}.{key}"
            except ValueError as error:
                return str(error)
            except TypeError:
                return f"{where}: it is a value and has no key {key!r}"
    return ""


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        refuse(ValueError(f"unexpected argument {argv[1]!r}: values are given as --name=value"))
    logging.set_verbosity(logging.WARNING)  # JAX reports each backend it does not find
    from experiments import train, workdir  # after the flags: a typo is answered at once

    try:
        path = workdir.prepare(WORKDIR.value)
        run = train.build(CONFIG.value, DATA_DIR.value)
    except (ValueError, TypeError) as error:
        refuse(error)
    try:
        results = train.train(CONFIG.value, run, path)
    except FloatingPointError as error:
        refuse(error, code=1)
    except KeyboardInterrupt:
        refuse(InterruptedError("interrupted; there is no result"), code=130)
    accuracy = results["test_accuracy"]["last"]
    print(f"test accuracy {accuracy:.2%} in the last epoch; results in {path / workdir.RESULTS}")


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
