"""Shows, checks and downloads data sets.

python -m experiments.data show --config=configs/digits.py --output=noise.png
python -m experiments.data check [NAME ...] [--data_dir=DIR]
python -m experiments.data prepare cifar10 [--data_dir=DIR]
"""

import argparse
import sys

from absl import app, logging

from experiments import streams
from experiments.data import check, download
from experiments.usage import Parser, refuse


def main(argv: list[str]) -> None:
    streams.keep()
    if argv[1:2] == ["show"]:
        from experiments.data import show

        logging.set_verbosity(logging.WARNING)
        app.run(show.main, [argv[0], *argv[2:]], flags_parser=show.parse)
    parser = Parser(
        prog="python -m experiments.data", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("show", help="a picture of what a config trains on; takes --config")
    for name, text in (
        ("check", "counts, shapes, means and noise rates beside the known ones"),
        ("prepare", "download, verify, say where"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("names", nargs="+" if name == "prepare" else "*", metavar="NAME")
        command.add_argument("--data_dir", help="default ~/tensorflow_datasets")
    args = parser.parse_args(argv[1:])
    run = {"check": check.check, "prepare": download.prepare}[args.command]
    try:
        good = run(args.names, args.data_dir)
    except ValueError as error:
        refuse(error)
    except KeyboardInterrupt:
        sys.exit(130)
    streams.check_output()
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main(sys.argv)
