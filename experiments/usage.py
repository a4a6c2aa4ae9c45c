"""What the programs say of themselves: --help, --config.help, and argparse's errors in one line."""

import argparse
import difflib
import os
import pathlib
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import NoReturn, TextIO

from experiments import keys


def refuse(error: Exception, code: int = 2) -> NoReturn:
    """Exits with a one-line error instead of a traceback."""
    message = " ".join(str(error).split())
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)


class Parser(argparse.ArgumentParser):
    """Prints its help if it gets nothing and needs something; a mistake is one line."""

    given: Sequence[str] = ()

    def parse_known_args(self, args=None, namespace=None):
        self.given = sys.argv[1:] if args is None else args
        if not self.given and any(action.required for action in self._actions):
            self.print_help(sys.stderr)
            sys.exit(2)
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:  # said here, where a command's own options are known
            self.error(f"unexpected argument {unknown[0]!r}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        options = [name for action in self._actions for name in action.option_strings]
        named = [word.partition("=")[0] for word in self.given if word.startswith("-")]
        wrong = [word for word in named if not any(one.startswith(word) for one in options)]
        choice = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if choice:
            choices = choice[2].replace("'", "").split(", ")
            what = message.partition(":")[0].removeprefix("argument ")
            message = f"{what}: expected one of {', '.join(choices)}, got {choice[1]!r}"
            message += meant(choice[1], choices)
        elif wrong:
            message = f"unknown option {wrong[0]}{meant(wrong[0], options)}"
        print(f"error: {message}; --help shows all", file=sys.stderr)
        sys.exit(2)


def meant(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def text(doc: str, shown: Sequence) -> str:
    """The help of a program with absl's flags, as argparse would lay it out.

    `doc`: the module's docstring: what the program does, an example, and what else there is.
    """
    does, example, *more = doc.strip().split("\n\n")
    parser = argparse.ArgumentParser(
        usage=textwrap.dedent(example).strip(), description=does, epilog="\n\n".join(more),
        formatter_class=argparse.RawDescriptionHelpFormatter, add_help=False,
    )  # fmt: skip
    for flag in shown:
        default = f" (default {flag.default})" if flag.default not in (None, "", False) else ""
        told = f"{flag.help}{default}".replace("%", "%%")
        if isinstance(flag.default, bool):
            parser.add_argument(f"--{flag.name}", help=told, action="store_true")
        else:
            parser.add_argument(f"--{flag.name}", help=told)
    return parser.format_help().rstrip()


def print_keys(file: str, config, section: str) -> None:
    """Lists the keys of a config, or of one section, with their values and comments."""
    if section:
        keys.check(config, section)
    told = keys.comments(pathlib.Path(file.partition(":")[0]))
    lines = []
    for key, value in keys.values(config.to_dict()):
        if not f"{key}.".startswith(section and f"{section}."):
            continue
        if not isinstance(value, dict):
            lines.append((f"{key} = {value}", told.get(key, "")))
        elif key in told:
            lines.append((key, told[key]))
    width = max(len(left) for left, _ in lines) + 2
    screen = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000  # one line each
    text = [f"{file}: --config.KEY=VALUE sets another value.", ""]
    for left, comment in lines:
        first, *rest = textwrap.wrap(comment, max(20, screen - width)) or [""]
        text += [f"{left:{width}}{first}".rstrip(), *(" " * width + more for more in rest)]
    say("\n".join(text), sys.stdout)


def say(text: str, file: TextIO) -> None:
    """Prints a whole text, to a reader such as head who may not want all of it."""
    try:
        print(text, file=file, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())  # or closing it would raise again
