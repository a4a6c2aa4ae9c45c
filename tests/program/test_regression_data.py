"""Data of a regression: sources, wrong targets, the split, and what is refused."""

import csv
import io
import runpy

import jax
import numpy as np
import pytest
from PIL import Image

from experiments import keys
from experiments.data import regression as data
from experiments.data import sources
from experiments.runs import files, identity
from experiments.training import build
from tests.program.test_identity import Reading
from tests.program.test_main import ROOT, main
from tests.program.test_regression import config_of


def loaded(config):
    return data.load(config.data, config.noise)


@pytest.mark.parametrize(("kind", "realised"), [("permute", 0.4), ("uniform", 0.4)])
def test_wrong_targets_and_the_split_depend_on_their_seeds_alone(kind, realised):
    overrides = {"noise.kind": kind, "noise.rate": 0.4, "data.validation": 100}
    one = loaded(config_of(**overrides))
    assert data.realised_rate(one.train) == pytest.approx(realised, abs=0.02)
    assert [len(part.targets) for part in one[1:4]] == [3900, 100, 1000]
    assert (one.test.targets == one.test.clean_targets).all()
    np.testing.assert_allclose(one.train.inputs.of.mean(axis=0), 0, atol=0.05)
    again, other = (
        loaded(config_of(**overrides)),
        loaded(config_of(**overrides | {"noise.seed": 1})),
    )
    assert again.targets_sha256 == one.targets_sha256 != other.targets_sha256
    np.testing.assert_array_equal(other.train.clean_targets, one.train.clean_targets)
    if kind == "uniform":
        assert one.low <= one.train.targets.min()
        assert one.train.targets.max() <= one.high


def test_a_table_of_images(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (12, 20, 30, 3), np.uint8)
    lines = [("path", "target")]
    for i, image in enumerate(pixels):
        name = f"{i + 20}_{i % 2}_x.png"
        Image.fromarray(image).save(tmp_path / name)
        lines.append((name, str(i + 20)))
    table = tmp_path / "ages.csv"
    with open(table, "w", newline="") as file:
        csv.writer(file).writerows(lines)
    of = {"noise.rate": 0.0, "data.side": 16}
    listed = loaded(config_of("images", **of, **{"data.path": str(table)}))
    named = loaded(
        config_of("images", **of, **{"data.path": str(tmp_path), "data.pattern": r"^(\d+)_"})
    )
    assert listed.train.inputs.of.shape == (10, 16, 16, 3)
    for one, other in zip(jax.tree.leaves(listed.train), jax.tree.leaves(named.train), strict=True):
        np.testing.assert_array_equal(one, other)
    assert sorted([*listed.train.targets, *listed.test.targets]) == list(range(20, 32))
    config = config_of("images", **of, **{"data.path": str(tmp_path), "data.pattern": r"^(\d+)_"})
    files.note_content(config)
    before = identity.config_sha256(config.to_dict())
    (tmp_path / "20_0_x.png").write_bytes(b"no image")
    files._content.cache_clear()
    files.note_content(config)  # with another content it is another run
    assert identity.config_sha256(config.to_dict()) != before
    with pytest.raises(ValueError, match=r"20_0_x.png: no image that can be read"):
        loaded(config_of("images", **of, **{"data.path": str(table)}))


def table_of(folder, lines, encoding="utf-8"):
    Image.new("RGB", (9, 9)).save(folder / "a.png")
    (folder / "table.csv").write_text("\n".join(["path,target", *lines]), encoding=encoding)
    return config_of("images", **{"noise.rate": 0.0, "data.path": str(folder / "table.csv")})


TEN = [f"a.png,{i}" for i in range(10)]


def test_a_table_as_a_spreadsheet_writes_it(tmp_path):
    found = loaded(table_of(tmp_path, TEN, "utf-8-sig"))
    assert sorted([*found.train.targets, *found.test.targets]) == [*range(10)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("deep.png,3", "deep.png: expected 8 bits per channel, got mode I;16"),
        ("a\0b.png,3", "a\0b.png: embedded null byte"),
        ("large.png,3", "large.png: expected 400 pixels at most"),
        ('"a\n.png",3\na.png,old', "line 14: the target 'old'"),
    ],
)
def test_images_that_cannot_be_read(tmp_path, line, message, monkeypatch):
    Image.fromarray(np.full((9, 9), 999, np.uint16)).save(tmp_path / "deep.png")
    Image.new("1", (30, 30)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    with pytest.raises(ValueError, match=f"config.data.path: .*{message}"):
        loaded(table_of(tmp_path, [*TEN, line]))


def with_targets(monkeypatch, targets):
    source = data.Source(np.zeros((len(targets), 3), np.float32), np.array(targets))
    monkeypatch.setitem(data.SOURCES, "friedman", lambda **options: source)
    return config_of()


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([*range(19), np.nan], "target 19 is nan"),
        ([*range(19), np.inf], "target 19 is inf"),
        ([1.5] * 11 + [9.0] + [1.5] * 8, "all training targets are 1.5"),  # 9 is in the test set
        ([1.5] * 20, "all training targets are 1.5"),
        ([1.0, 2.0], "expected 10 examples or more, got 2"),
        (np.arange(20) * 1e30, "a range from 1e-15 to 1e15, got 1.9e.31"),
        (np.arange(20) * 1e-30, "a range from 1e-15 to 1e15, got 1.9e-29"),
        (1.7e9 + np.arange(20), "does not tell targets from 1700000000 to 1700000019 apart"),
    ],
)
def test_targets_that_cannot_be_learnt(monkeypatch, targets, message):
    with pytest.raises(ValueError, match=message):
        loaded(with_targets(monkeypatch, targets))


def test_mistakes(tmp_path):
    (tmp_path / "text.csv").write_text("path,target\na.png,old\n")
    (tmp_path / "other.csv").write_text("file,age\na.png,3\n")
    for overrides, message in (
        ({"noise.kind": "symmetric_exclusive"}, "expected one of permute, uniform, given, got"),
        (
            {"loss.method": "focal"},
            "focal needs classes, which this task",
        ),
        ({"loss.method": "cross_entropy"}, "the loss of a regression without a method is plain"),
        ({"loss.base": "bootstrap"}, "bootstrap needs classes, .*; choose one of plain, cauchy$"),
        ({"loss.threshold": "per_class"}, "needs classes"),
        ({"residual.loss": "l3"}, "config.residual.loss: expected one of huber, l1, l2"),
        ({"residual.delta": 0.0}, "config.residual.delta: expected a finite number > 0"),
        ({"residual.truncation": -1.0}, "config.residual.truncation: expected a finite number > 0"),
        ({"model.name": "lenet"}, "friedman has rows of numbers, not images: choose mlp"),
        ({"data.examples": 9000}, "config.data.examples: expected"),
        ({"data.validation": 4000}, "config.data.validation: expected"),
        ({"data.name": "diabets"}, "did you mean diabetes"),
        ({"data.name": "images"}, "config.data.path: expected a CSV file or a folder"),
        ({"data.name": "images", "data.path": "/no/such"}, "is neither a file nor a folder"),
        ({"data.name": "images", "data.path": str(tmp_path)}, "a group for the target"),
        ({"data.name": "images", "data.path": str(tmp_path / "text.csv")}, "'old' is no finite"),
        ({"data.name": "images", "data.path": str(tmp_path / "other.csv")}, "got file, age"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            build.build_run(config_of(**overrides))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["3", "nan"], "table.csv, line 13: the target 'nan' is no finite number"),
        (["3", "1e39"], "images: target 11 is inf"),
        (["3", "old"], "table.csv, line 13: the target 'old' is no finite number"),
        (["7", "7"], "images: all training targets are 7"),
    ],
)
def test_a_bad_column_of_targets_is_one_line_and_leaves_nothing(tmp_path, targets, message):
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    first, last = targets
    lines = [first if i % 2 else "7" for i in range(11)] + [last]
    rows = [["path", "target"], *(["a.png", target] for target in lines)]
    with open(tmp_path / "table.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    run = tmp_path / "run"
    done = main("--config=configs/regression_utkface.py", f"--workdir={run}",
                f"--config.data.path={tmp_path / 'table.csv'}")  # fmt: skip
    assert done.returncode == 2
    assert message in done.stderr.strip()
    assert done.stderr.strip().count("\n") == 0
    assert not run.exists()


def test_the_whole_of_mnist_as_tfds_prepares_it(tmp_path, monkeypatch):
    mnist = pytest.importorskip("tensorflow_datasets.image_classification.mnist")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    images = np.random.default_rng(0).integers(0, 256, (30, 28, 28, 1), np.uint8)

    class Small(mnist.MNIST, skip_registration=True):
        name = "mnist"

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(range(20)),
                    "test": self._generate_examples(range(20, 30))}  # fmt: skip

        def _generate_examples(self, rows):
            for i in rows:  # as PNG files, since TFDS would encode arrays by TensorFlow
                stream = io.BytesIO()
                Image.fromarray(images[i, ..., 0]).save(stream, "PNG")
                stream.seek(0)
                yield i, {"image": stream, "label": i % 10}

    config = config_of("mnist", **{"noise.rate": 0.0})
    with pytest.raises(ValueError, match=r"expected a directory mnist in .*, as tfds build mnist"):
        data.load(config.data, config.noise, str(tmp_path))
    Small(data_dir=str(tmp_path), file_format="array_record").download_and_prepare()
    monkeypatch.setattr(sources, "MNIST_COUNTS", {"train": 20, "test": 10})
    found = data.load(config.data, config.noise, str(tmp_path))
    for part, rows in ((found.train, range(20)), (found.test, range(20, 30))):
        whole = {images[i].tobytes(): i % 10 for i in rows}  # in the order of TFDS
        assert [whole.pop(image.tobytes()) for image in part.inputs.of] == part.targets.tolist()
        assert not whole
    monkeypatch.setattr(sources, "MNIST_COUNTS", {"train": 21, "test": 10})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    with pytest.raises(ValueError, match="train: expected 21 records, got 20"):
        data.load(config.data, config.noise, str(tmp_path))


@pytest.mark.parametrize(
    "file", sorted((ROOT / "configs").glob("regression_*.py")), ids=lambda file: file.stem
)
def test_every_config_builds_also_at_full_scale(file, monkeypatch):
    config = runpy.run_path(str(file))["get_config"]()
    shape = (5000, 4) if config.model.name == "mlp" else (5000, 28, 28, 1)
    own = data.Source(np.zeros(shape, np.uint8 if len(shape) == 4 else np.float32), np.arange(5e3))
    monkeypatch.setitem(data.SOURCES, config.data.name, lambda **options: own)
    run = build.build_run(config)
    assert run.score.key == "mae"
    assert run.dataset.train.inputs.of.shape[1:] == shape[1:]


@pytest.mark.parametrize("key", ["augment", "data.imbalance", "noise.exact", "model.init"])
def test_keys_of_classification_are_refused(key):
    with pytest.raises(ValueError, match=f"expected one of .*, got '{key.rpartition('.')[2]}'"):
        keys.check(config_of(), key)


def test_validation_on_clean_targets():
    noisy, clean = (
        loaded(config_of(**{"data.validation": 200, "data.validation_labels": kind}))
        for kind in ("noisy", "clean")
    )
    assert 0.3 < data.realised_rate(noisy.validation) < 0.5
    assert data.realised_rate(clean.validation) == 0
    np.testing.assert_array_equal(clean.train.targets, noisy.train.targets)
    with pytest.raises(ValueError, match="no clean targets are known: use noisy"):
        loaded(config_of(**{"data.validation": 200, "data.validation_labels": "clean",
                            "noise.kind": "given"}))  # fmt: skip


@pytest.mark.parametrize(
    "overrides",
    [
        {}, {"noise.rate": 0.0}, {"noise.kind": "given"}, {"residual.loss": "l1"},
        {"data.name": "mnist"}, {"data.name": "mnist", "data.examples": 100},
        {"data.validation": 20, "data.validation_labels": "clean"},
    ],
)  # fmt: skip
def test_what_is_declared_is_what_is_read(overrides, monkeypatch):
    own = data.Source(np.zeros((200, 3), np.float32), np.arange(200.0), number=150)
    monkeypatch.setitem(data.SOURCES, "mnist", lambda **options: own)
    config, read = config_of(**overrides), set()
    build.build_run(config)  # gets no key that is not declared
    monkeypatch.setattr(identity, "read_part", lambda config: config)
    build.build_run(Reading(config, read))
    flat = identity.flattened(config.to_dict())
    assert {key for key in flat if identity.is_read(key, flat)} - read <= {"seed", "epochs"}
