"""Shared command-line flags: a config file and its overrides. A mistake gives a one-line error."""

import difflib
import functools
import pathlib
import re
import runpy
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from absl import flags
from ml_collections import config_flags

from experiments import keys, streams, usage
from experiments.usage import refuse

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Python file with get_config(). --config.KEY=VALUE sets one of its values;"
    " --config.help lists them, with what they mean.",
)  # fmt: skip
DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Directory with data sets; by default ~/tensorflow_datasets."
)
flags.mark_flag_as_required("config")

HELP = {"--help", "-help", "-h", "-?", "--helpshort"}
HELP_ON_KEYS = r"--?config((?:\.\w+)*)\.help(?:=.*)?"


def stop(message: str, code: int) -> NoReturn:
    """Exits as a signal has asked for, which is no error."""
    print(f"stopped  {message}", file=sys.stderr)
    sys.exit(code)


def parser(doc: str, *own: flags.FlagHolder) -> Callable[[list[str]], list[str]]:
    """Makes app.run's flags_parser for a program: its --help shows `doc` and its `own` flags."""
    shown = [one.name for one in (CONFIG, *own, DATA_DIR)]
    return functools.partial(parse, doc, shown)


def parse(doc: str, shown: list[str], argv: list[str]) -> list[str]:
    streams.keep()
    given = argv[1:]
    if not given or HELP & {*given}:
        text = usage.text(doc, [flags.FLAGS[name] for name in shown])
        usage.say(text, sys.stdout if given else sys.stderr)
        sys.exit(0 if given else 2)
    asked = {arg: match for arg in given if (match := re.fullmatch(HELP_ON_KEYS, arg))}
    sys.argv = [arg for arg in sys.argv if arg not in asked]  # ml_collections reads it
    argv = [arg for arg in argv if arg not in asked]
    try:
        rest = read(argv, partly=bool(asked))
        CONFIG.value.lock()  # only this loads the file and shows its errors
    except flags.UnrecognizedFlagError as error:
        refuse(ValueError(unknown_flag(error.flagname, shown)))
    except Exception as error:  # the user's file and ml_collections raise any type
        refuse(ValueError(unknown_key(argv) or explained(error, file_of(argv))))
    if asked:
        try:
            for match in asked.values():
                usage.print_keys(file_of(argv), CONFIG.value, match[1].removeprefix("."))
        except ValueError as error:
            refuse(error)
        sys.exit(0)
    return rest


def read(argv: list[str], partly: bool) -> list[str]:
    """Sets the flags. With `partly`, --config is the only one that must be given."""
    try:
        return flags.FLAGS(argv)
    except flags.IllegalFlagValueError as error:
        missing = re.findall(r"flag --(\w+)=None: Flag", str(error))
        if partly and missing and "config" not in missing:
            return argv[:1]
        if missing:
            missing = ["config"] if partly else missing
            wanted = " and ".join(f"--{name}=..." for name in missing)
            raise flags.Error(f"expected {wanted}; --help shows all flags") from None
        raise


def file_of(argv: list[str]) -> str:
    """The config's file, or ""."""
    found = ""
    for arg, following in zip(argv, [*argv[1:], ""], strict=True):
        name, equals, value = arg.partition("=")
        if name in ("--config", "-config"):
            found = value if equals else following
    return found


def unknown_flag(name: str, shown: list[str]) -> str:
    head, dot, tail = name.partition(".")
    close = difflib.get_close_matches(head, shown, n=1)
    hint = f"; did you mean --{close[0]}{dot}{tail}?" if close else ""
    return f"unknown flag --{name}{hint or '; --help shows all'}"


def unknown_key(argv: list[str]) -> str:
    """Returns an error message for the first --config.x.y that does not exist, or ""."""
    path, _, word = file_of(argv).partition(":")
    try:
        config = runpy.run_path(path)["get_config"](*filter(None, [word]))
        config.to_dict()
    except Exception:
        return ""
    for arg in argv:
        if named := re.match(r"--?(?:no)?config\.([^=]+)", arg):
            try:
                keys.check(config, named[1])
            except ValueError as error:
                return str(error)
    return ""


def explained(error: Exception, file: str) -> str:
    """What is wrong with the command line or the config's file, in one sentence."""
    path = pathlib.Path(file.partition(":")[0])
    if not path.is_file() and (file or not isinstance(error, flags.Error)):
        near = difflib.get_close_matches(str(path), map(str, path.parent.glob("*.py")), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"--config: expected a Python file, got {file!r}{hint}"
    said = "".join(traceback.format_exception(error))
    lines = re.findall(rf'File "{re.escape(str(path))}", line (\d+)', said)
    if isinstance(error, flags.Error) and not lines:
        return str(error)
    if isinstance(error, AttributeError) and not lines:  # of what get_config() is, or returned
        return f"--config: {file}: expected get_config() that returns a ConfigDict: {error}"
    place = f"{path}, line {lines[-1]}: " if lines else ""
    return f"--config: {place}{keys.in_words(error)}"
