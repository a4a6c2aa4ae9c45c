"""A sweep of detections and its reports: table, figures, images with boxes, suspects."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from experiments.report import plots, runs
from experiments.runs import files, samples
from experiments.tasks import score_of
from tests.program import shapes
from tests.program.drawn import closing
from tests.program.running import reported, sweep_at_once

pytest.importorskip("faster_coco_eval", reason="needs the extra detection: faster-coco-eval")
closed = pytest.fixture(autouse=True)(closing)
__all__ = ["reported"]  # a fixture
SWEEP = """
from tests.program import shapes

def get_config():
    config = shapes.config_of({folder!r})
    config.devices = 1
    config.report.losses = True
    return config

def sweep():
    for method in ("plain", "superloss"):
        for seed in (0, 1):
            yield {{"loss.method": method, "seed": seed, "noise.seed": seed}}
"""


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detection")
    squares = shapes.make(folder / "squares")
    return sweep_at_once(folder, SWEEP.format(folder=str(squares)))


def first(swept):
    return sorted(path.parent for path in swept.glob("*superloss*/results.json"))[0]


def test_the_table(swept, reported):
    said = reported("table", f"--workdir={swept}", "--paired=plain").replace("**", "")
    values: dict[str, list[float]] = {}
    for path in sorted(swept.glob("*/results.json")):
        results = json.loads(path.read_text())
        assert results["vmapped"] == 2
        method = results["config"]["loss"]["method"]
        values.setdefault(method, []).append(results["test_map_50"]["last"])
    for method, of in values.items():
        assert f"| {method} | {np.mean(of):.3f} ± {np.std(of, ddof=1):.3f} |" in said
    assert "Test mAP at IoU 0.5; mean ± sample standard deviation over n seeds" in said
    assert "part of wrong labels" in said


def test_average_precision_by_class(swept, reported):
    said = reported("classes", f"--workdir={swept}")
    for method in ("plain", "superloss"):
        paths = swept.glob(f"*method={method}*/results.json")
        last = [json.loads(path.read_text())["last_epoch"] for path in paths]
        cells = []
        for name in ("ap_50_bright", "ap_50_dark", "map_50", "map_75", "map"):
            values = [one[f"test_{name}"] for one in last]
            cells.append(f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}")
        assert f"| {' | '.join(cells)} |" in said
    assert "| method | condition | n | bright | dark | mAP |" in said


def test_every_figure_is_drawn(swept):
    found = runs.finished_runs(swept)
    drawn = {name: reason for name, _, _, reason in plots.drawn(found, None, 1)}
    assert {name for name, reason in drawn.items() if not reason} == {
        "map_50_over_epochs", "memorisation", "tau", "sigma_over_loss", "losses",
    }  # fmt: skip
    assert score_of(found[0].results["config"]).key == "map_50"


def test_images_with_boxes(swept, reported):
    run = first(swept)
    said = reported("boxes", f"--workdir={run}", "--number=4")
    rows = samples.read_samples(run)
    wrong = rows["wrong"] == 1
    given = (rows["predicted"] == rows["target"])[wrong].mean()
    assert f"of {wrong.sum()} training boxes with a wrong class" in said
    assert f"{given:.1%} as they are given" in said
    assert (run / "boxes.png").stat().st_size > 10_000
    with Image.open(run / "boxes.png") as image:
        assert image.convert("RGB").getcolors(256) is not None  # there are no more


def test_suspects_are_objects(swept, reported):
    run = first(swept)
    said = reported("suspects", f"--workdir={run}", "--number=10")
    rows = samples.read_samples(run, files.BEST)
    with open(run / "suspects.csv") as file:
        lines = [*csv.DictReader(file)]
    assert [int(line["index"]) for line in lines] == rows["index"][
        samples.order(rows)[:10]
    ].tolist()
    assert [int(line["object"]) for line in lines] == rows["object"][
        samples.order(rows)[:10]
    ].tolist()
    assert {line["given_label"] for line in lines} <= {*shapes.SHADES}
    share = (rows["wrong"] == 1)[samples.order(rows)[:10]].mean()
    assert f"of these 10, {share:.1%} are wrong" in said
    assert (run / "suspects.png").exists()


def test_what_is_no_detection_has_no_boxes(swept, reported, tmp_path):
    with pytest.raises(SystemExit, match="2"):
        reported("boxes", f"--workdir={tmp_path}")
    (tmp_path / files.TEST).write_bytes(b"torn")
    with pytest.raises(SystemExit, match="2"):
        reported("boxes", f"--workdir={tmp_path}")
