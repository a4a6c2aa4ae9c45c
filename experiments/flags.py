"""Shared command-line flags: a config file and its overrides. A mistake gives a one-line error."""

import runpy
import sys
from typing import NoReturn

from absl import flags
from ml_collections import config_flags

from experiments import checks, streams

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Python file with get_config(); --config.x.y=VALUE overrides a value."
)
DATA_DIR = flags.DEFINE_string("data_dir", None, "Directory with data sets (README, Data).")
flags.mark_flag_as_required("config")


def refuse(error: Exception, code: int = 2) -> NoReturn:
    """Exits with a one-line error instead of a traceback."""
    message = " ".join(str(error).split())
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)


def parse(argv: list[str]) -> list[str]:
    streams.keep()
    try:
        rest = flags.FLAGS(argv)
        if not hasattr(CONFIG.value, "lock"):  # only this loads the file and shows its errors
            said = f"expected get_config() to return a ConfigDict, got {CONFIG.value!r:.40}"
            raise TypeError(said)
        CONFIG.value.lock()
        return rest
    except flags.Error as error:
        head, traceback, _ = str(error).partition("Traceback")
        refuse(ValueError(head + str(error).splitlines()[-1] if traceback else head))
    except Exception as error:  # the user's file and ml_collections raise any type
        refuse(ValueError(unknown_key(argv) or f"--config: {str(error).splitlines()[-1].strip()}"))


def unknown_key(argv: list[str]) -> str:
    """Returns an error message for the first --config.x.y that does not exist, or ""."""
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
                section, where = checks.choose(where, key, section), f"{where}.{key}"
            except ValueError as error:
                return str(error)
            except TypeError:
                return f"{where}: it is a value and has no key {key!r}"
    return ""
