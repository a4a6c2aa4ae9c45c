"""Figures and the page: they show the runs' own numbers, and stand on their own."""

import argparse
import contextlib
import csv
import html.parser
import re
import shutil

import numpy as np
import pytest
from scipy import optimize

from configs import digits
from experiments import diagnostics, workdir
from experiments.report import (
    drawing,
    loss_groups,
    page,
    plots,
    plots_examples,
    plots_metrics,
    runs,
)
from experiments.report.drawing import STYLES, plt

EPOCHS = 7
ARGS = {"output": None, "rows": None, "split": 5, "columns": None}


def examples(seed, number=200):
    rng = np.random.default_rng(seed)
    clean = rng.integers(0, 5, number)
    label = np.where(rng.random(number) < 0.4, (clean + 1 + rng.integers(0, 4, number)) % 5, clean)
    rows = {"index": np.arange(number), "label": label, "clean_label": clean}
    rows["predicted"] = rng.integers(-1, 5, number)  # -1: not seen
    losses = (rng.exponential(size=(EPOCHS, number)) + (label != clean)).astype(np.float32)
    return rows | {"loss": losses[-1], "weight": np.exp(-losses[-1])}, losses


def make_run(root, method, rate, seed, wanted=(), epochs=EPOCHS, more=None, **overrides):
    """A run as the program leaves it, of random numbers; `more` replaces parts of its result."""
    config = digits.get_config()
    config.epochs = epochs
    changes = {"loss.method": method, "noise.rate": rate, "seed": seed} | overrides
    config.update_from_flattened_dict(changes)
    # As those trained at once: each seed in a directory of its own, which has no other name.
    path = root / f"{method}-{rate}-{len(list(root.glob('*')))}" / "seed_0"
    path.mkdir(parents=True)
    rng = np.random.default_rng([seed, int(100 * rate), *map(ord, method)])
    keys = ["test_accuracy", "validation_accuracy", "accuracy_clean", "accuracy_wrong", *wanted]
    rows = [{"epoch": i + 1} | {key: rng.random() for key in keys} for i in range(epochs)]
    for row in rows:
        if rate == 0:
            row["accuracy_wrong"] = None
        row["tau"] = row["test_accuracy"] + 1 if method == "superloss" else None
    results = {
        "config": config.to_dict(), "versions": {"jax": "1.0"}, "platform": "cpu", "devices": 1,
        "x64": False, "noise": {"convention": "x", "realised_rate": rate}, "detectors": {},
        "test_accuracy": {"last": rows[-1]["test_accuracy"]},
    } | (more or {})  # fmt: skip
    workdir.write_json(path / workdir.CONFIG, results["config"])
    workdir.write_json(path / workdir.RESULTS, results)
    (path / workdir.METRICS).write_text("".join(map(workdir.line, rows)))
    return path


def with_examples(path, seed=0):
    rows, losses = examples(seed)
    for epoch, loss in enumerate(losses, 1):
        diagnostics.write_losses(path, epoch, rows | {"loss": loss})
    diagnostics.write(path, rows)
    return rows, losses


@pytest.fixture
def sweep(tmp_path):
    root = tmp_path / "swept"
    for method in ("cross_entropy", "superloss"):
        for rate in (0.0, 0.4):
            for seed in (0, 1):
                path = make_run(root, method, rate, seed)
                if rate and not seed:
                    with_examples(path, ["superloss", "cross_entropy"].index(method))
    return root


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def lines_of(axes):
    return {
        line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")
    }


def note_of(figure):
    return figure.get_supxlabel().replace("\n", " ")


def test_what_is_predicted_of_wrong_labels_counted_one_by_one():
    rows, _ = examples(3)
    rows["clean_label"][:20] = -1  # not known
    counts = {"wrong_memorised": 0, "wrong_correct": 0, "wrong_other": 0}
    triples = zip(rows["label"], rows["clean_label"], rows["predicted"], strict=True)
    for given, true, predicted in triples:
        if true >= 0 and true != given and predicted >= 0:
            kind = {given: "wrong_memorised", true: "wrong_correct"}.get(predicted, "wrong_other")
            counts[kind] += 1
    found = diagnostics.memorised(rows)
    assert found == pytest.approx({k: n / sum(counts.values()) for k, n in counts.items()})
    assert diagnostics.memorised(rows | {"clean_label": rows["label"]}) == {}
    assert diagnostics.memorised(rows | {"clean_label": np.full(200, -1)}) == {}
    unseen = diagnostics.memorised(rows | {"predicted": np.full(200, -1)})
    assert list(unseen) == list(counts)
    assert np.isnan(list(unseen.values())).all()


def test_easy_and_hard_are_quarters_of_the_clean_and_all_quantiles_are_theirs():
    rows, losses = examples(1)
    losses[2, :7] = np.nan  # not seen in that epoch
    summary = loss_groups.summarise(rows, losses, 5)
    clean = np.flatnonzero(rows["label"] == rows["clean_label"])
    order = sorted(clean, key=lambda i: losses[4, i])
    quarter = (len(clean) - 1) // 4 + 1  # up to the 25 % quantile, which lies on or after that one
    wrong = np.flatnonzero(rows["label"] != rows["clean_label"])
    expected = {"easy": order[:quarter], "hard": order[-quarter:], "wrong": wrong}
    for group, members in expected.items():
        for epoch in range(EPOCHS):
            seen = sorted(value for value in losses[epoch, members] if not np.isnan(value))
            assert summary[group][epoch, 5] == len(seen)
            at = np.interp(np.array((0.1, 0.25, 0.5, 0.75, 0.9)) * (len(seen) - 1),
                           np.arange(len(seen)), seen)  # fmt: skip
            np.testing.assert_allclose(summary[group][epoch, :5], at, rtol=1e-5)
    for split in (0, EPOCHS + 1):
        with pytest.raises(ValueError, match=f"--split: .* from 1 to 7, got {split}"):
            loss_groups.summarise(rows, losses, split)
    with pytest.raises(ValueError, match="not known which labels are wrong"):
        loss_groups.summarise(rows | {"label": rows["clean_label"]}, losses, 5)
    with pytest.raises(ValueError, match="no loss of a clean example"):
        loss_groups.summarise(rows, np.full_like(losses, np.nan), 5)


def test_losses_are_drawn_again_from_their_table_when_they_are_gone(sweep, capsys):
    plots.figures(argparse.Namespace(**ARGS, workdir=str(sweep)))
    said = capsys.readouterr().out
    for name in plots.FIGURES:
        for suffix in ("png", "svg"):
            file = sweep / "figures" / f"{name}.{suffix}"
            assert str(file) in said
            assert 1000 < file.stat().st_size < 300_000
    with open(sweep / "figures" / "losses.csv") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 2 * 3 * EPOCHS  # of two methods, three groups
    found = runs.read(sweep)
    paths = [str(run.path.relative_to(sweep)) for run in found if run.column.rate and
             (run.path / diagnostics.LOSSES).is_dir()]  # fmt: skip
    assert len(paths) == 2
    assert {line["run"] for line in lines} == {*paths}
    order = plots.chosen(found, None)
    before = {run.row: lines for run, lines in plots_examples.summaries(found, order, 5)}
    with plt.rc_context(drawing.LOOK):
        again = drawing.svg(plots_examples.losses(found, order, 5))
    assert again == (sweep / "figures" / "losses.svg").read_text()
    for run in found:
        shutil.rmtree(run.path / diagnostics.LOSSES, ignore_errors=True)
    after = {run.row: lines for run, lines in plots_examples.summaries(found, order, 5)}
    for row in before:
        for group in loss_groups.GROUPS:
            np.testing.assert_allclose(after[row][group], before[row][group], rtol=1e-5)
    with pytest.raises(ValueError, match=r"losses\.csv was made with --split=5, not 4"):
        plots_examples.summaries(found, order, 4)
    (found[-1].path / loss_groups.FILE).write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"expected the columns run,split,epoch"):
        loss_groups.read(found[-1], 5)


def test_figures_that_cannot_be_drawn_say_why(tmp_path, capsys):
    make_run(tmp_path, "cross_entropy", 0.4, 0)
    plots.figures(argparse.Namespace(**ARGS, workdir=str(tmp_path)))
    said = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert said["accuracy_over_noise"].endswith("at several rates of noise, got 0.4")
    assert said["tau"] == "not drawn: no run has tau in its metrics.jsonl"
    assert "no run of these rows has samples.npz" in said["sigma_over_loss"]
    assert "config.report.losses" in said["losses"]
    assert said["memorisation"].endswith("memorisation.svg")
    assert not (tmp_path / "figures" / "tau.svg").exists()


def test_accuracy_over_noise_is_the_mean_and_the_band_the_extremes(tmp_path):
    for seed in (0, 1, 2):
        for rate in (0.0, 0.2, 0.4):
            for method in ("superloss", "cross_entropy"):
                make_run(tmp_path, method, rate, seed)
    make_run(tmp_path, "superloss", 0.3, 0, **{"noise.kind": "asymmetric"})
    found = runs.read(tmp_path)
    figure = plots_metrics.accuracy_over_noise(found, plots.chosen(found, None), 5)
    titles = {axes.get_xlabel(): axes for axes in figure.axes}
    kinds = ["asymmetric", "symmetric_exclusive"]
    assert sorted(titles) == [f"noise rate (%), {kind}" for kind in kinds]
    values = {}
    for run in found:
        noise = run.results["config"]["noise"]
        key = run.row, noise["kind"], noise["rate"]
        values.setdefault(key, []).append(100 * run.results["test_accuracy"]["last"])
    axes = titles["noise rate (%), symmetric_exclusive"]
    assert list(lines_of(axes)) == ["superloss", "cross_entropy"]
    for (row, line), band in zip(lines_of(axes).items(), axes.collections, strict=True):
        cells = [values[row, "symmetric_exclusive", rate] for rate in (0.0, 0.2, 0.4)]
        assert list(line.get_xdata()) == [0, 20, 40]
        np.testing.assert_allclose(line.get_ydata(), np.mean(cells, axis=1))
        corners = {tuple(np.round(corner, 6)) for corner in band.get_paths()[0].vertices}
        for rate, cell in zip((0, 20, 40), cells, strict=True):
            assert {(rate, round(min(cell), 6)), (rate, round(max(cell), 6))} <= corners
    # Without noise its kind makes no difference.
    line = lines_of(titles["noise rate (%), asymmetric"])["superloss"]
    clean = values["superloss", "symmetric_exclusive", 0.0]
    alone = values["superloss", "asymmetric", 0.3]
    np.testing.assert_allclose(line.get_ydata(), [np.mean(clean), np.mean(alone)])


def test_memorisation_shows_what_runs_have(tmp_path):
    path = make_run(tmp_path, "superloss", 0.4, 0)
    figure = plots_metrics.memorisation(runs.read(tmp_path), ["superloss"], 5)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["right labels: fitted", "wrong labels: memorised"]
    expected = [100 * row["accuracy_wrong"] for row in workdir.read_rows(path / workdir.METRICS)]
    drawn = lines_of(figure.axes[1])["superloss"].get_ydata()
    np.testing.assert_allclose(drawn, expected)
    make_run(tmp_path, "elr", 0.4, 0, ("wrong_correct", "wrong_other"))
    found = runs.read(tmp_path)
    figure = plots_metrics.memorisation(found, ["superloss", "elr"], 5)
    drawn = {axes.get_title(): list(lines_of(axes)) for axes in figure.axes}
    assert drawn["wrong labels: true class predicted"] == ["elr"]
    assert drawn["wrong labels: memorised"] == ["superloss", "elr"]


def test_weights_are_drawn_over_losses_and_tau_is_marked(sweep):
    found = runs.read(sweep)
    figure = plots_examples.sigma_over_loss(found, ["superloss", "cross_entropy"], 5)
    upper, lower = figure.axes[0], figure.axes[2]
    rows, _ = examples(0)
    points = {(x, y) for line in lines_of(upper).values() for x, y in line.get_xydata()}
    assert points == set(zip(rows["loss"], rows["weight"], strict=True))
    source = next(run for run in found if run.row == "superloss" and run.column.rate == 0.4)
    last = runs.metrics(source)[-1]["tau"]
    assert [line.get_xdata()[0] for line in lower.get_lines()] == [last]


def test_rows_to_draw(tmp_path):
    methods = ("gce", "elr", "sce", "focal", "jocor", "superloss", "cross_entropy")
    for i, method in enumerate(methods):
        make_run(tmp_path, method, 0.4, i)
    make_run(tmp_path, "superloss", 0.4, 9, **{"loss.base": "gce", "loss.lam": 3.0})
    found = runs.read(tmp_path)
    order = plots.chosen(found, None)
    assert order[:2] == ["superloss", "cross_entropy"]
    others = {run.row: run.results["test_accuracy"]["last"] for run in found}
    del others["superloss"], others["cross_entropy"]
    assert order[2:] == sorted(others, key=others.get, reverse=True)
    both = "superloss, base gce, lam 3.0"
    assert plots.chosen(found, f"{both},superloss, elr") == [both, "superloss", "elr"]
    wrong = {"nothing": "got 'nothing'", "": "got none", ",".join(order): "most 6"}
    for asked, said in wrong.items():
        with pytest.raises(ValueError, match=rf"--rows: expected .*{said}"):
            plots.chosen(found, asked)
    # A row looks alike in all figures, and none looks like another that is not there.
    having = {order[1], order[3], order[6], order[7]}
    styles, others = drawing.styled(order, having)
    assert styles == {order[1]: STYLES[1], order[3]: STYLES[3]}
    assert others == order[6:]
    figure = plots_metrics.accuracy_over_epochs(found, order, 5)
    lines = lines_of(figure.axes[-1])
    assert [*lines] == order[:6]
    assert [line.get_color() for line in lines.values()] == [one["color"] for one in STYLES]
    assert f"there being 6 styles: {order[6]}; {order[7]}." in note_of(figure)
    without = [row for row in order if row not in (both, "superloss")]
    with pytest.raises(ValueError, match=r"without a style have tau \(--rows\): superloss"):
        plots_metrics.tau(found, [*without, "superloss"], 5)


def test_names_are_as_near_their_lines_as_they_can_be():
    rng = np.random.default_rng(0)
    for heights in (rng.random(6), np.full(4, 0.5), np.array([0.0, 0.01, 0.99, 1.0])):
        placed = drawing.apart(heights, 0.1)
        order = np.argsort(heights, kind="stable")
        # The same least squares by a general solver.
        gaps = {"type": "ineq", "fun": lambda x: np.diff(x) - 0.1}
        start = np.linspace(0, 1, len(heights))
        bounds = [(0, 1)] * len(heights)
        best = optimize.minimize(lambda x, to=heights[order]: ((x - to) ** 2).sum(), start,
                                 constraints=gaps, bounds=bounds, tol=1e-12)  # fmt: skip
        np.testing.assert_allclose(placed[order], best.x, atol=1e-4)


def test_a_name_alone_is_beside_the_end_of_its_line(tmp_path):
    make_run(tmp_path, "superloss", 0.4, 0)
    figure = plots_metrics.tau(runs.read(tmp_path), ["superloss"], 5)
    axes = figure.axes[0]
    (low, high), end = axes.get_ylim(), lines_of(axes)["superloss"].get_ydata()[-1]
    assert axes.texts[0].get_text() == "superloss"
    assert axes.texts[0].xyann[1] == pytest.approx((end - low) / (high - low))


def imbalanced(factor):
    return {"data.imbalance": float(factor)}


def test_the_noisiest_conditions_are_shown_by_how_many_labels_are_wrong(tmp_path):
    human = {"more": {"noise": {"convention": "x", "realised_rate": 0.4}}, "noise.kind": "given"}
    path = make_run(tmp_path, "superloss", 0.0, 0, **human)
    for rate in (0.1, 0.3, 0.5):
        make_run(tmp_path, "superloss", rate, 0)
    unknown = {"noise": {"convention": "x", "realised_rate": None}}
    make_run(tmp_path, "superloss", 0.45, 0, more=unknown)
    found = runs.read(tmp_path)
    figure = plots_metrics.tau(found, ["superloss"], 5)
    expected = ["noise 0.3", "given", "noise 0.45", "noise 0.5"]
    assert [axes.get_title() for axes in figure.axes] == [f"tau, {one}" for one in expected]
    assert note_of(figure).endswith("1 condition not shown: noise 0.1.")
    for one in (path, next(run.path for run in found if run.column.rate == 0.1)):
        with_examples(one)
    assert [run.path for run in plots_examples.sources(found, ["superloss"], loss_groups.kept)] == [
        path
    ]


def test_of_equally_noisy_conditions_the_first_are_shown(tmp_path):
    factors = (20, 5, 50, 1, 100, 2, 10)  # fewer than 5040 orders in which a set gives them
    for factor in factors:
        make_run(tmp_path, "superloss", 0.4, 0, **imbalanced(factor))
    found = runs.read(tmp_path)
    figure = plots_metrics.tau(found, ["superloss"], 5)
    columns = sorted(run.column for run in found)
    headings = [runs.heading(column, columns) for column in columns]
    assert [axes.get_title() for axes in figure.axes] == [f"tau, {one}" for one in headings[:4]]
    assert f"3 conditions not shown: {'; '.join(headings[4:])}." in note_of(figure)


def test_runs_of_the_same_seeds_count_once_and_the_note_says_in_what_they_differ(tmp_path):
    older = {"versions": {"jax": "0.9"}}
    paths = {}
    for rate in (0.2, 0.4):
        paths[rate] = [make_run(tmp_path, "superloss", rate, seed) for seed in (0, 1)]
    found = runs.read(tmp_path)
    for draw in (plots_metrics.tau, plots_metrics.accuracy_over_noise):
        assert "MIXED" not in note_of(draw(found, ["superloss"], 5))
    path = make_run(tmp_path, "superloss", 0.4, 0, epochs=EPOCHS, more=older)
    rows = [row | {"tau": 3 * row["tau"]} for row in workdir.read_rows(path / workdir.METRICS)]
    rows.append({"epoch": EPOCHS + 1, "tau": 9.0})  # the only run that has it
    (path / workdir.METRICS).write_text("".join(map(workdir.line, rows)))
    results = runs.read(tmp_path)
    own = next(run for run in results if run.path == path).results
    workdir.write_json(path / workdir.RESULTS, own | {"test_accuracy": {"last": 0.01}})
    found = runs.read(tmp_path)
    said = "MIXED: averages runs that differ in jax 0.9 / jax 1.0; those of the same seeds"
    figure = plots_metrics.tau(found, ["superloss"], 5)
    assert said in note_of(figure)
    first, second = ([row["tau"] for row in workdir.read_rows(one / workdir.METRICS)]
                     for one in paths[0.4])  # fmt: skip
    expected = [((a + 3 * a) / 2 + b) / 2 for a, b in zip(first, second, strict=True)] + [9.0]
    np.testing.assert_allclose(lines_of(figure.axes[1])["superloss"].get_ydata(), expected)
    figure = plots_metrics.accuracy_over_noise(found, ["superloss"], 5)
    assert said in note_of(figure)
    first, second = (
        100 * workdir.read_rows(one / workdir.METRICS)[-1]["test_accuracy"] for one in paths[0.4]
    )
    assert lines_of(figure.axes[0])["superloss"].get_ydata()[-1] == pytest.approx(
        ((first + 1) / 2 + second) / 2
    )


def test_accuracy_over_noise_is_drawn_of_what_there_is(tmp_path):
    for rate in (0.2, 0.4):
        make_run(tmp_path, "superloss", rate, 0)
        make_run(tmp_path, "gce", rate, 0, **{"data.name": "other"})
        make_run(tmp_path, "elr", rate, 0, more={"test_accuracy": {}})
    make_run(tmp_path, "superloss", 0.3, 0, more={"test_accuracy": {}})
    found = runs.read(tmp_path)
    figure = plots_metrics.accuracy_over_noise(found, plots.chosen(found, "superloss,elr"), 5)
    assert [axes.get_title().split(",")[0] for axes in figure.axes] == ["digits"]
    line = lines_of(figure.axes[0])
    assert [*line] == ["superloss"]
    assert [*line["superloss"].get_xdata()] == [20, 40]
    with pytest.raises(ValueError, match="at several rates of noise, got none"):
        plots_metrics.accuracy_over_noise(found, ["elr"], 5)


def test_lines_without_an_end_have_no_name():
    axes = plt.figure().add_subplot()
    drawing.name_ends(axes)
    axes.plot([1, 2], [np.nan, np.nan], label="nowhere")
    drawing.name_ends(axes)
    drawing.curve(axes, [1, 2], np.full((2, 2), np.nan), STYLES[0], "not drawn")
    assert not axes.texts
    assert [*lines_of(axes)] == ["nowhere"]
    axes.plot([1, 2, 3], [4, 5, np.nan], label="cut short")
    drawing.name_ends(axes)
    assert [(text.get_text(), text.xy) for text in axes.texts] == [("cut short", (2, 5))]


def test_a_row_is_named_in_the_last_panel_that_has_it(tmp_path):
    for rate in (0.2, 0.3, 0.4):
        make_run(tmp_path, "superloss", rate, 0)
    make_run(tmp_path, "superloss", 0.2, 0, **{"loss.base": "gce"})
    make_run(tmp_path, "superloss", 0.1, 0, **{"loss.base": "gce"})
    figure = plots_metrics.tau(runs.read(tmp_path), ["superloss", "superloss, base gce"], 5)
    names = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert names == [[], ["superloss, base gce"], [], ["superloss"]]
    figure.draw_without_rendering()
    between, after = figure.axes[1].texts[0].get_window_extent(), figure.axes[2].get_tightbbox()
    assert between.x1 <= after.x0 + 1
    assert figure.axes[3].texts[0].get_window_extent().x1 <= figure.bbox.x1 + 1


def test_the_note_names_all_kinds_of_selection(tmp_path):
    for kind in ("clean", "noisy"):
        for rate in (0.2, 0.4):
            declared = {"data.validation_labels": kind, "report.selection": ("best_validation",)}
            make_run(tmp_path, "superloss", rate, 0, (), EPOCHS,
                     {"test_accuracy": {"best_validation": 0.5}}, **declared)  # fmt: skip
    found = runs.read(tmp_path)
    order = plots.chosen(found, None)
    both = "best epoch on clean validation labels or best epoch on noisy validation labels"
    assert both in note_of(plots_metrics.accuracy_over_noise(found, order, 5))
    clean = next(run.row for run in found
                 if run.results["config"]["data"]["validation_labels"] == "clean")  # fmt: skip
    assert "noisy" not in note_of(plots_metrics.accuracy_over_noise(found, [clean], 5))


def test_runs_whose_metrics_cannot_be_read_are_left_out(tmp_path):
    oracle = {"report.selection": ("best_test",)}
    torn = make_run(tmp_path, "superloss", 0.4, 0, **oracle)
    whole = make_run(tmp_path, "superloss", 0.4, 1, **oracle)
    with_examples(torn)
    expected = [row["tau"] for row in workdir.read_rows(whole / workdir.METRICS)]
    for content in ('{"epoch": 1, "ta', None):
        (torn / workdir.METRICS).unlink()
        if content:
            (torn / workdir.METRICS).write_text(content)
        found = runs.read(tmp_path)
        assert plots_metrics.foremost(found) == "last"  # the oracle's is not known of all
        order = plots.chosen(found, None)
        figure = plots_metrics.tau(found, order, 5)
        np.testing.assert_allclose(lines_of(figure.axes[0])["superloss"].get_ydata(), expected)
        assert "Without 1 run: " in note_of(figure)
        assert str(torn / workdir.METRICS) in note_of(figure).replace(" ", "")
        figure = plots_examples.sigma_over_loss(found, order, 5)
        assert "superloss: tau is not known: " in note_of(figure)
    (whole / workdir.METRICS).write_text("{")
    drawn = {name: reason for name, _, reason in plots.drawn(found, None, 5)}
    assert not drawn["sigma_over_loss"]
    assert not drawn["losses"]
    for name in ("accuracy_over_epochs", "memorisation", "tau"):
        assert "Without 2 runs: " in drawn[name]
        assert str(whole) in drawn[name]
    content = (torn / "samples.npz").read_bytes()
    for length in (0, 10, len(content) // 2, len(content) - 1):
        (torn / "samples.npz").write_bytes(content[:length])
        drawn = {name: reason for name, _, reason in plots.drawn(found, None, 5)}
        assert drawn["sigma_over_loss"].startswith(f"{torn / 'samples.npz'} is torn: ")
    for place in range(0, len(content), max(1, len(content) // 400)):
        flipped = bytearray(content)
        flipped[place] ^= 0x10
        (torn / "samples.npz").write_bytes(flipped)
        with contextlib.suppress(ValueError):  # damage that does not show is none
            diagnostics.read(torn)


@pytest.mark.parametrize(("length", "every"), [(1, 1), (45, 1), (46, 2), (100, 3), (990, 22)])
def test_of_long_curves_every_kth_epoch_is_drawn(length, every):
    kept = drawing.thinned(length) + 1
    epochs = [e for e in range(1, length + 1) if e == 1 or (length - e) % every == 0]
    assert [*kept] == epochs
    said = {2: "every 2nd epoch", 3: "every 3rd epoch", 22: "every 22nd epoch"}
    text = drawing.thinning([length, 7])
    assert (said[every] in text) if every > 1 else not text


def test_notes_say_which_epochs_are_drawn(tmp_path):
    path = make_run(tmp_path, "superloss", 0.4, 0, epochs=230)
    found = runs.read(tmp_path)
    figure = plots_metrics.tau(found, ["superloss"], 5)
    rows = workdir.read_rows(path / workdir.METRICS)
    line = lines_of(figure.axes[0])["superloss"]
    kept = [rows[0], *(row for row in rows if row["epoch"] % 6 == 230 % 6 and row["epoch"] > 1)]
    np.testing.assert_allclose(line.get_xdata(), [row["epoch"] for row in kept])
    np.testing.assert_allclose(line.get_ydata(), [row["tau"] for row in kept])
    assert "Curves of more than 45 epochs show every 6th epoch." in note_of(figure)
    assert "more than 100 epochs show every 3rd epoch." in "".join(
        page.each_run(found, ["superloss"])
    )
    rows, losses = examples(0)
    for epoch in range(1, 231):
        diagnostics.write_losses(path, epoch, rows | {"loss": losses[epoch % EPOCHS]})
    diagnostics.write(path, rows)
    assert "every 6th epoch" in note_of(plots_examples.losses(found, ["superloss"], 5))


class Reader(html.parser.HTMLParser):
    """What a page holds: ids, what refers to them, what it would load, its text."""

    def __init__(self):
        super().__init__()
        self.ids, self.used, self.loaded, self.tags, self.text = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            elif name in ("href", "xlink:href", "src"):
                (self.used if value.startswith("#") else self.loaded).append(value)
            self.used += re.findall(r"url\((#[^)]*)\)", value or "")

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_stands_on_its_own(sweep):
    evil = '<script>alert("x")</script>'
    make_run(sweep, "superloss", 0.4, 0, **{"data.path": evil})
    failed = make_run(sweep, "gce", 0.4, 0)
    (failed / workdir.RESULTS).unlink()
    (failed / workdir.REASON).write_text(f"step 5: {evil} not finite")
    begun = make_run(sweep, "elr", 0.4, 0)
    (begun / workdir.RESULTS).unlink()
    torn = make_run(sweep, "superloss", 0.4, 2)
    (torn / workdir.METRICS).write_text('{"epoch": 1, "test_acc')
    page.page(argparse.Namespace(**ARGS, workdir=str(sweep)))
    content = (sweep / "report.html").read_text()
    read = Reader()
    read.feed(content)
    assert {"script", "link", "img", "image"} & {*read.tags} == {"link", "image"}
    assert all(value.startswith("data:") for value in read.loaded)
    assert len(read.ids) == len(set(read.ids))
    assert {used[1:] for used in read.used} <= set(read.ids)
    text = "".join(read.text)
    assert f"{torn / workdir.METRICS}: " in text
    assert f"failed: step 5: {evil} not finite" in text
    assert f"not finished: {EPOCHS} epochs" in text
    assert text.count("test accuracy") >= 9
    assert content.count('<div class="run">') == 10
    for row in ("cross_entropy", "superloss"):
        of = [run for run in runs.read(sweep) if run.row == row and run.column.rate == 0.0]
        values = [100 * run.results["test_accuracy"]["last"] for run in of]
        assert f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}" in text
    assert len(content) < 1_500_000
