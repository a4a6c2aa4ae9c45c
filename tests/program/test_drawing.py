"""Names next to lines, and thinning of long curves."""

import numpy as np
import pytest
from scipy import optimize

from experiments.report import drawing, page, plots_examples, plots_metrics, runs
from experiments.report.drawing import STYLES, plt
from experiments.runs import files, samples
from tests.program.drawn import EPOCHS, closing, examples, lines_of, make_run, note_of

closed = pytest.fixture(autouse=True)(closing)


def test_names_are_as_near_their_lines_as_they_can_be():
    rng = np.random.default_rng(0)
    for heights in (rng.random(6), np.full(4, 0.5), np.array([0.0, 0.01, 0.99, 1.0])):
        placed = drawing.apart(heights, 0.1)
        order = np.argsort(heights, kind="stable")
        # A general solver finds the same least-squares solution.
        gaps = {"type": "ineq", "fun": lambda x: np.diff(x) - 0.1}
        start = np.linspace(0, 1, len(heights))
        bounds = [(0, 1)] * len(heights)
        best = optimize.minimize(lambda x, to=heights[order]: ((x - to) ** 2).sum(), start,
                                 constraints=gaps, bounds=bounds, tol=1e-12)  # fmt: skip
        np.testing.assert_allclose(placed[order], best.x, atol=1e-4)


def test_a_name_alone_is_beside_the_end_of_its_line(tmp_path):
    make_run(tmp_path, "superloss", 0.4, 0)
    figure = plots_metrics.tau(runs.finished_runs(tmp_path), ["superloss"], 5)
    axes = figure.axes[0]
    (low, high), end = axes.get_ylim(), lines_of(axes)["superloss"].get_ydata()[-1]
    assert axes.texts[0].get_text() == "superloss"
    assert axes.texts[0].xyann[1] == pytest.approx((end - low) / (high - low))


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
    figure = plots_metrics.tau(
        runs.finished_runs(tmp_path), ["superloss", "superloss, base gce"], 5
    )
    names = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert names == [[], ["superloss, base gce"], [], ["superloss"]]
    figure.draw_without_rendering()
    between, after = figure.axes[1].texts[0].get_window_extent(), figure.axes[2].get_tightbbox()
    assert between.x1 <= after.x0 + 1
    assert figure.axes[3].texts[0].get_window_extent().x1 <= figure.bbox.x1 + 1


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
    found = runs.finished_runs(tmp_path)
    figure = plots_metrics.tau(found, ["superloss"], 5)
    rows = files.read_rows(path / files.METRICS)
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
        samples.write_losses(path, epoch, rows | {"loss": losses[epoch % EPOCHS]})
    samples.write(path, rows)
    assert "every 6th epoch" in note_of(plots_examples.losses(found, ["superloss"], 5))
