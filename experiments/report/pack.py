"""A finished sweep in a few files, and back: report pack --workdir=DIR, report unpack."""

import pathlib

from experiments import checks
from experiments.report.runs import number
from experiments.report.unfinished import unfinished
from experiments.runs import files, packed, packing


def pack(args) -> None:
    """Packs the finished runs below a directory into three files, or four, in their place."""
    root = workdir(args)
    packs = packing.pack(root)
    if packs.records:
        names = (files.CONFIG, packed.RUNS, packed.METRICS, files.LOSSES)
        sizes = {name: (root / name).stat().st_size for name in names if (root / name).exists()}
        size = f"{', '.join(sizes)}, {sum(sizes.values()) / 1e6:.2f} MB"
        print(f"{number(len(packs.records))} packed in {root}: {size}")
    else:
        print(f"no finished run in {root}: nothing is packed")
    left = packs.left | dict(unfinished(root))
    for name in sorted(left):
        print(f"left loose: {name}: {left[name]}")


def unpack(args) -> None:
    """Gives packed runs their own directories and files back; the packed files stay."""
    root = workdir(args)
    output = checks.path("--output", args.output) if args.output else root
    print(f"{number(len(packing.unpack(root, output)))} unpacked in {output}")


def workdir(args) -> pathlib.Path:
    root = checks.path("--workdir", args.workdir)
    if not root.is_dir():
        raise ValueError(f"--workdir: expected a directory, got {args.workdir}")
    return root


def add_command(commands) -> None:
    for one in (pack, unpack):
        command = commands.add_parser(one.__name__, help=one.__doc__)
        command.add_argument("--workdir", required=True, help="directory of the sweep")
        command.set_defaults(call=one)
    command.add_argument("--output", help="where the directories go (default: WORKDIR)")
