"""The command line that programs share: a config file, its overrides, one line for a mistake."""

import runpy
import sys
from typing import NoReturn

from absl import flags
from ml_collections import config_flags

from experiments import checks

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Python file with get_config(); --config.x.y=VALUE overrides a value."
)
DATA_DIR = flags.DEFINE_string("data_dir", None, "Directory with data sets (README, Data).")
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
                section, where = checks.choose(where, key, section), f"{where}.{key}"
            except ValueError as error:
                return str(error)
            except TypeError:
                return f"{where}: it is a value and has no key {key!r}"
    return ""
