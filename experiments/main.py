"""Trains one configuration.

python -m experiments.main --config=configs/digits.py --config.noise.rate=0.4 --workdir=DIR
"""

import sys
from typing import NoReturn

from absl import app, flags, logging
from ml_collections import config_flags

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
        refuse(error)
    except Exception as error:  # whatever the user's file or ml_collections raises
        text = str(error.args[0] if error.args else error)
        # ml_collections hands on the repr of its own errors, escapes included.
        if text[:1] == text[-1:] and text[:1] in {"'", '"'}:
            text = text[1:-1]
        text = text.replace("\\n", " ").replace("\\'", "'")
        refuse(ValueError(f"--config: {text}"))


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
    accuracy = results["test_accuracy"]["last"]
    print(f"test accuracy {accuracy:.2%} in the last epoch; results in {path / workdir.RESULTS}")


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
