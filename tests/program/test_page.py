"""The HTML page is self-contained."""

import argparse
import html.parser
import re

import numpy as np
import pytest

from experiments.report import page, runs
from experiments.runs import files
from tests.program.drawn import ARGS, EPOCHS, closing, make_run, swept

closed = pytest.fixture(autouse=True)(closing)


class Reader(html.parser.HTMLParser):
    """Parses a page: its ids, references to ids, external resources, and text."""

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


def test_the_page_stands_on_its_own(tmp_path):
    sweep = swept(tmp_path / "swept")
    evil = '<script>alert("x")</script>'
    make_run(sweep, "superloss", 0.4, 0, **{"data.path": evil})
    failed = make_run(sweep, "gce", 0.4, 0)
    (failed / files.RESULTS).unlink()
    (failed / files.REASON).write_text(f"step 5: {evil} not finite")
    begun = make_run(sweep, "elr", 0.4, 0)
    (begun / files.RESULTS).unlink()
    torn = make_run(sweep, "superloss", 0.4, 2)
    (torn / files.METRICS).write_text('{"epoch": 1, "test_acc')
    page.page(argparse.Namespace(**ARGS, workdir=str(sweep)))
    content = (sweep / "report.html").read_text()
    read = Reader()
    read.feed(content)
    assert {"script", "link", "img", "image"} & {*read.tags} == {"link", "image"}
    assert all(value.startswith("data:") for value in read.loaded)
    assert len(read.ids) == len(set(read.ids))
    assert {used[1:] for used in read.used} <= set(read.ids)
    text = "".join(read.text)
    assert f"{torn / files.METRICS}: " in text
    assert f"failed: step 5: {evil} not finite" in text
    assert f"not finished: {EPOCHS} epochs" in text
    assert text.count("test accuracy") >= 9
    assert content.count('<div class="run">') == 10
    for row in ("cross_entropy", "superloss"):
        of = [run for run in runs.finished_runs(sweep) if run.row == row and run.column.rate == 0.0]
        values = [100 * run.results["test_accuracy"]["last"] for run in of]
        assert f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}" in text
    assert len(content) < 1_500_000
