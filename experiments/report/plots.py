"""Figures of all runs below a directory: python -m experiments.report figures --workdir=DIR"""

import contextlib
import pathlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from experiments import checks
from experiments.pictures import Figure
from experiments.report import (
    drawing,
    loss_groups,
    plots_examples,
    plots_metrics,
    plots_noise,
    plots_numbers,
    runs,
)
from experiments.report.drawing import STYLES, plt
from experiments.report.plots_metrics import foremost
from experiments.report.runs import FinishedRun
from experiments.report.statistics import make_table
from experiments.runs import files, packed, samples

# By file name: what is said of each, with a score's key, name and target, and how it is drawn.
FIGURES: dict[str, tuple[str, Callable[..., Figure]]] = {
    "{key}_over_noise": (
        "Each line shows a method's test {name} at the rates of noise.",
        plots_noise.score_over_noise,
    ),
    "{key}_over_epochs": (
        "Each line shows a method's {name} on validation and on test examples over epochs.",
        plots_metrics.score_over_epochs,
    ),
    "memorisation": (
        "The panels show what is predicted of training examples over epochs, as they are trained"
        " on (after ELR).",
        plots_metrics.memorisation,
    ),
    "memory": (
        "The panels show over epochs how well wrong {target}s are fitted, and the memory g of"
        " remembered SuperLoss.",
        plots_metrics.memory,
    ),
    "pseudo_labels": (
        "The panels show over epochs how many pseudo-{target}s are right: of all, and as the method"
        " weighs them.",
        plots_metrics.pseudo_labels,
    ),
    "tau": ("The lines show SuperLoss's threshold, tau, over epochs.", plots_metrics.tau),
    "pairs": (
        "The panels show over epochs the mean weights of pairs of images of one and of two"
        " {target}s, all of them right, and how alike the latter are, where they count.",
        plots_metrics.pairs,
    ),
    "sigma_over_loss": (
        "Each point above is a training example in the last epoch; below stands how many have"
        " which loss.",
        plots_examples.sigma_over_loss,
    ),
    "losses": (
        "The lines show the losses of training examples over epochs: of easy and of hard ones,"
        " and of those with a wrong {target}.",
        plots_examples.losses,
    ),
    "predictions": (
        "Each point is a training example in the last epoch: what is predicted over its given"
        " {target}, where these are numbers.",
        plots_numbers.predictions,
    ),
    "tenths": (
        "The lines show error and weight of training examples by the size of their {target}, where"
        " these are numbers.",
        plots_numbers.by_tenths,
    ),
}

SPLIT = 5  # the epoch after which easy and hard examples are told apart


class Drawn(NamedTuple):
    name: str
    caption: str
    figure: Figure | None
    reason: str  # why there is none


def ranked(found: list[FinishedRun]) -> list[str]:
    """Row names in the order of the table: the best first."""
    return make_table(found, (foremost(found),)).rows


def chosen(found: list[FinishedRun], asked: str | None) -> list[str]:
    """The rows to draw: those asked for, or else superloss, the plain loss and then the best."""
    rows = ranked(found)
    if asked is not None:
        names = split_rows(asked, rows)
        if len(names) > len(STYLES):
            raise ValueError(f"--rows: expected at most {len(STYLES)} rows, got {len(names)}")
        return names
    of_method = {run.row: run.results["config"]["loss"]["method"] for run in found}
    names = []
    for method in ("superloss", "cross_entropy", "plain"):  # with no settings, if there is one
        same = [row for row in rows if of_method[row] == method]
        names += [method] if method in same else same[:1]
    return names + [row for row in rows if row not in names]


def split_rows(text: str, rows: list[str]) -> list[str]:
    """Splits rows at commas; a row may hold commas itself, so the longest that fits is taken."""
    names: list[str] = []
    rest = text
    while rest := rest.strip():
        fitting = [row for row in rows if rest == row or rest.startswith(f"{row},")]
        if not fitting:
            raise ValueError(f"--rows: expected some of {'; '.join(rows)}; got {rest!r}")
        names.append(max(fitting, key=len))
        rest = rest[len(names[-1]) + 1 :]
    if not names:
        raise ValueError(f"--rows: expected some of {'; '.join(rows)}; got none")
    return [*dict.fromkeys(names)]


def drawn(found: list[FinishedRun], rows: str | None, split: int) -> Iterator[Drawn]:
    """Draws each figure, or says why there is none; closes it when the next is asked for."""
    order, score = chosen(found, rows), found[0].score
    texts = {"key": score.key, "name": score.name, "target": score.target}
    for template, (caption, draw) in FIGURES.items():
        name, caption = template.format(**texts), caption.format(**texts)
        with plt.rc_context(drawing.LOOK):
            try:
                figure = draw(found, order, split)
            except ValueError as error:
                yield Drawn(name, caption, None, str(error))
                continue
            yield Drawn(name, caption, figure, "")
            plt.close(figure)


def figures(args) -> None:
    """Draws all figures that the runs below a directory have the data for."""
    root = checks.path("--workdir", args.workdir)
    found = runs.finished_runs(root, args.columns)
    folder = checks.path("--output", args.output) if args.output else root / "figures"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, _, figure, reason in drawn(found, args.rows, args.split):
            if figure is None:
                print(f"{name}: not drawn: {reason}")
            else:
                print(f"{name}: {', '.join(map(str, drawing.save(figure, folder / name)))}")
                if name == "losses" and packed.is_packed(folder):
                    print(
                        f"losses: {folder} is a packed sweep, whose {files.LOSSES} stays as it is"
                    )
                elif name == "losses":
                    keep_losses(root, found, chosen(found, args.rows), args.split, folder)
    except OSError as error:
        raise ValueError(f"{error.filename}: {error.strerror}") from None


def keep_losses(root: pathlib.Path, found, order: list[str], split: int, folder) -> None:
    """Writes the summaries that are drawn beside the picture, and each run's into its directory.

    They suffice to draw the picture again when every example's losses are deleted.
    """
    drawn_of = plots_examples.summaries(found, order, split)
    # Not by the directory's name alone: seeds trained at once are all called seed_0, seed_1, ...
    shown = {run.path.relative_to(root).as_posix(): lines for run, lines in drawn_of}
    loss_groups.write(folder / files.LOSSES, split, shown)
    count = 0
    for run in found:
        if (run.path / samples.LOSSES).is_dir():
            with contextlib.suppress(ValueError):  # of a run without clean targets, or of mixtures
                lines = {".": loss_groups.summary_of(run, split)}
                loss_groups.write(run.path / files.LOSSES, split, lines)
                count += 1
    print(f"losses: {folder / files.LOSSES}, and in the directories of {count} runs")


def add_command(commands) -> None:
    command = commands.add_parser("figures", help=figures.__doc__)
    runs.add_arguments(command)
    command.add_argument("--output", help="directory for the pictures (default: WORKDIR/figures)")
    add_choices(command)
    command.set_defaults(call=figures)


def add_choices(command) -> None:
    command.add_argument("--rows", help="rows of the table to draw (default: the best)")
    told = f"after which easy and hard examples are told apart (default {SPLIT})"
    command.add_argument("--split", type=int, default=SPLIT, metavar="EPOCH", help=told)
