"""What finished runs say.

python -m experiments.report table --workdir=DIR [--paired[=ROW]] [--published] [--columns=KEY,KEY]
python -m experiments.report figures --workdir=DIR [--output=DIR] [--rows=a,b]
python -m experiments.report html --workdir=DIR
python -m experiments.report detectors --workdir=DIR [--output=DIR]
python -m experiments.report choose --workdir=DIR
python -m experiments.report stops --workdir=DIR [--by=method]
python -m experiments.report suspects --workdir=RUN [--score=NAME] [--epoch=EPOCH] [--data_dir=DIR]
python -m experiments.report mentornet --workdir=RUN [--known=0.1] [--output=FILE]
python -m experiments.report neighbours --workdir=RUN [--number=10] [--data_dir=DIR]
python -m experiments.report boxes --workdir=RUN [--number=3] [--data_dir=DIR]
python -m experiments.report classes --workdir=DIR [--columns=KEY,KEY]
python -m experiments.report pack --workdir=DIR
python -m experiments.report unpack --workdir=DIR [--output=DIR]
"""

import argparse
import importlib
import sys

from experiments import streams
from experiments.usage import Parser, refuse

MODULES = {  # of each command; `add_command` of pack adds both of its own
    "table": "table", "figures": "plots", "html": "page", "detectors": "detectors",
    "choose": "tuning", "stops": "stops", "suspects": "suspects", "boxes": "boxes",
    "neighbours": "neighbours", "classes": "classes", "mentornet": "mentornet",
    "pack": "pack", "unpack": "pack",
}  # fmt: skip


def main() -> None:
    streams.keep()
    parser = Parser(
        prog="python -m experiments.report", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    asked = MODULES.get(next(iter(sys.argv[1:]), ""))
    for name in [asked] if asked else dict.fromkeys(MODULES.values()):  # all take two seconds
        importlib.import_module(f"experiments.report.{name}").add_command(commands)
    args = parser.parse_args()
    try:
        args.call(args)
    except (OSError, ValueError) as error:
        refuse(error, code=2 if isinstance(error, ValueError) else 1)
    streams.check_output()


if __name__ == "__main__":
    main()
