"""A user's own table: paths of images with labels, or numbers with labels."""

import csv
import gzip

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from configs import own
from configs import regression as regression_config
from experiments import data
from experiments.data import regression, show
from experiments.models import sides
from experiments.runs import contents, files
from experiments.tasks import classification, semi_supervised
from experiments.training import build
from tests.program.running import reported, train_one

__all__ = ["reported"]  # a fixture

PATHS = "path,label\na.png,x\nb.png,y\nc.png,x\nd.png,y\n"
# Numbers by hand: the first column has mean 3 and standard deviation 2, without the missing one 3.
NUMBERS = "size,kind,label\n1,red,x\n5,,y\n1,red,x\n5,blue,y\n"


def written(place, text=PATHS):
    """Writes a table, and images a to f beside it: of 10x12 pixels, red by their letter."""
    for name in "abcdef":
        Image.new("RGB", (10, 12), (ord(name), 0, 0)).save(place.parent / f"{name}.png")
    if isinstance(text, pa.Table):
        parquet.write_table(text, place)
    else:
        place.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(place)


def config_of(path, **changes):
    config = own.get_config()
    config.data.name, config.data.path, config.data.validation_share = "table", path, 0.0
    config.data.update(changes)
    return config


def loaded(path, **changes):
    return classification.load(config_of(path, **changes), None)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", PATHS),
        ("t.csv", "\ufeff" + PATHS.replace("label", "what")),
        ("t.tsv", PATHS.replace(",", "\t")),
        ("t.csv.gz", gzip.compress(PATHS.encode(), mtime=0)),
        ("t.csv", "n,label,file\n1,x,a.png\n2,y,b.png\n3,x,sub/../c.png\n4,y,d.png\n"),
        (
            "t.parquet",
            pa.table({"i": [*"abcd"], "image": ["a.png", "b.png", "c.png", "d.png"],
                      "label": pa.array(["x", "y", "x", "y"]).dictionary_encode()}),
        ),
    ],
)  # fmt: skip
def test_images_have_the_labels_of_their_rows(tmp_path, name, text):
    (tmp_path / "sub").mkdir()
    found = loaded(written(tmp_path / name, text))
    assert found.class_names == ("x", "y")
    np.testing.assert_array_equal(found.train.targets, [0, 1, 0, 1])
    assert found.train.inputs.shape == (4, 10, 10, 3)
    np.testing.assert_array_equal(found.train.inputs[:, 3, 3, 0], [ord(one) for one in "abcd"])
    assert [path[-5:] for path in found.files] == ["a.png", "b.png", "c.png", "d.png"]
    assert found.told[0] == "classes  2: x 2, y 2"
    assert found.told[1].startswith("columns  ")
    assert found.told[2] == "sizes    10x12; now 10x10: 4 cut to their middle"


def test_numbers_and_kinds_are_inputs(tmp_path):
    found = loaded(written(tmp_path / "t.csv", NUMBERS))
    # Kinds in the order of their names: none, blue, red.
    expected = [[-1, 0, 0, 1], [1, 1, 0, 0], [-1, 0, 0, 1], [1, 0, 1, 0]]
    np.testing.assert_array_equal(found.train.inputs, np.array(expected, np.float32))
    np.testing.assert_array_equal(found.train.targets, [0, 1, 0, 1])
    assert (found.train.clean_targets == -1).all()
    assert found.told == (
        "classes  2: x 2, y 2",
        "columns  1 of numbers, standardised, 1 of texts, now 0 or 1 for each that occurs",
    )


def test_what_is_missing_and_what_is_left_out(tmp_path):
    names = [f"name {i}" for i in range(25)]
    size = [4.0, None, *[0.0, 2.0, 1.0] * 7, 1.0, 1.0]  # the median is 1
    table = pa.table({"": range(25), "size": size, "name": names, "label": [None, *[1, 2] * 12]})
    found = data.load("table", path=written(tmp_path / "t.parquet", table))
    full = np.array([1.0 if one is None else one for one in size])
    expected = (full - full.mean()) / full.std()
    np.testing.assert_allclose(found.train.inputs[:, 0], expected, rtol=1e-6)
    np.testing.assert_array_equal(found.train.targets, [-1, *[0, 1] * 12])
    assert found.told[1:] == (
        "columns  1 of numbers, standardised",
        "columns  left out: the one without a name (it counts the rows), name (string)",
        "missing  1 numbers, now the median of their column",
    )


@pytest.mark.parametrize(
    ("values", "names", "targets"),
    [
        (["b", "", "a", "b"], ("a", "b"), [1, -1, 0, 1]),
        ([7, None, 3, 3], ("3", "7"), [1, -1, 0, 0]),
        ([1.0, float("nan"), 2.0, 2.0], ("1", "2"), [0, -1, 1, 1]),  # as pandas writes integers
        ([True, False, None, True], ("false", "true"), [1, 0, -1, 1]),
        ([b"b", b"a", b"b", b"a"], ("a", "b"), [1, 0, 1, 0]),
    ],
)
def test_labels_as_tables_have_them(tmp_path, values, names, targets):
    table = pa.table({"size": [1.0, 2.0, 5.0, 7.0], "label": values})
    found = data.load("table", path=written(tmp_path / "t.parquet", table))
    assert found.class_names == names
    np.testing.assert_array_equal(found.train.targets, targets)


MANY = "size,label\n" + "".join(f"{i % 7},n{i}\n" for i in range(10_000))


@pytest.mark.parametrize(
    ("text", "changes", "message"),
    [
        ("", {}, "cannot read .*: Empty CSV file"),
        ("path,label\n", {}, "has no rows"),
        (PATHS.replace(",", ";"), {}, "columns parted by commas, got one column 'path;label'"),
        ("a,a,label\n1,2,x\n", {}, "two columns are named 'a'"),
        ("a,label\n1,x\n2,y,3\n", {}, "cannot read .*: CSV parse error: Expected 2 columns, got 3"),
        (b"PAR1 torn", {}, "cannot read .*: Parquet magic bytes not found in footer"),
        (b"a,label\n1,\xff\n2,\xfe\n", {}, "label: expected names in UTF-8"),
        (b"\xaa,label\n1,x\n2,y\n", {}, "cannot read .*: 'utf-8' codec can't decode byte 0xaa"),
        (PATHS, {"label_column": "kind"}, "label_column: expected one of label, got 'kind'"),
        ("a,b\n1,2\n3,4\n", {}, "label_column: expected the column with the labels, one of a, b"),
        (PATHS, {"path_column": "file"}, "path_column: expected one of path, label, got 'file'"),
        ("a,label\n1,x\n", {"path_column": "a"}, "expected a column of paths, got a of int64"),
        (
            "path,mask,label\na.png,b.png,x\n",
            {},
            "path_column: expected the column with the paths of the images, one of path, mask",
        ),
        ("size,label\n1,x\n2,x\n", {}, "expected labels of at least 2 classes, got only 'x'"),
        (
            "size,label\n1,0.5\n2,0.25\n",
            {},
            "label: expected whole numbers or names, got 0.5; for .* config.task=regression",
        ),
        (MANY, {}, "10000 different labels of 10000 examples are no classes; .*regression"),
        (f"size,label\n1,{'x' * 300}\n", {}, "expected names of classes, got a text of 300 char"),
        ("label\nx\ny\n", {}, "expected columns of numbers, or one with paths .*, got none"),
        ("size,label\n1,x\n-inf,y\n", {}, "size: row 2: expected at most 1e30, got -inf"),
        ("path,label\na.png,x\nb.png,y\n,x\n", {}, "row 3: it has no path"),
        (
            "path,label\na.png,x\nsub/../../b.png,y\n",
            {},
            r"row 2: expected a path below the table's folder, got 'sub/\.\./\.\./b\.png'",
        ),
        ("path,label\na.png,x\n/b.png,y\n", {}, "row 2: expected a path below the table's folder"),
        ("path,label\na.png,x\nb.png,y\n./a.png,y\n", {}, r"row 3: \./a\.png is in row 1, too"),
        ("path,label\na.png,x\nz.png,y\nw.png,y\n", {}, "2 of 3 images are not there: z.png, w"),
        ("path,label\na.png,x\nb.png,y\nt.csv,y\n", {}, "1 files cannot be read: t.csv: no image"),
        (PATHS, {"damaged": "skip"}, "damaged: expected one of stop, leave_out, got 'skip'"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_meant(tmp_path, text, changes, message):
    path = written(tmp_path / "t.csv", text)
    with pytest.raises(ValueError, match=message) as error:
        loaded(path, **changes)
    assert str(error.value).startswith("config.data.")
    assert "\n" not in str(error.value)


def test_files_that_are_no_tables(tmp_path):
    for path, said in (("none.csv", "No such file"), (".", "Is a directory"), (None, "got none")):
        with pytest.raises(ValueError, match=rf"config\.data\.path: .*{said}"):
            data.load("table", path=path and str(tmp_path / path))
    table = pa.table({"size": [1.0, 2.0], "label": [[1], [2]]})
    with pytest.raises(ValueError, match=r"label: expected names or whole numbers, got list"):
        loaded(written(tmp_path / "t.parquet", table))


def test_rows_of_numbers_are_no_images(tmp_path):
    config = config_of(written(tmp_path / "t.csv", NUMBERS))
    assert sides.fitting((100,)) == "mlp"
    found = classification.load(config, None)
    for changes, message in (
        ({"model.name": "resnet18"}, "rows of numbers are no images: choose mlp or auto, got res"),
        ({"augment.flip": True}, "rows of numbers are no images: expected 0, False, 0, got 0, T"),
    ):
        other = config.copy_and_resolve_references()
        other.update_from_flattened_dict(changes)
        with pytest.raises(ValueError, match=message):
            classification.build(other, found)
    with pytest.raises(ValueError, match="has rows of numbers, and no pictures"):
        show.draw_picture(found, config.noise, str(tmp_path / "noise.png"))
    config.batch_size = 2
    with config.unlocked():
        config.consistency = {"labelled": 1}
    found = found._replace(train=found.train._replace(targets=np.array([0, 1, -1, -1])))
    with pytest.raises(ValueError, match="semi_supervised needs images, got rows of numbers"):
        semi_supervised.build(config, found)


def test_numbers_to_predict(tmp_path):
    rows = [(i * i, "ab"[i % 2], 100.0 + i) for i in range(20)]
    text = "size,kind,age\n" + "".join(f"{size},{kind},{age}\n" for size, kind, age in rows)
    config = regression_config.get_config()
    config.data.name, config.data.path = "table", written(tmp_path / "t.csv", text)
    config.noise.kind = "given"
    with pytest.raises(ValueError, match="label_column: expected one of size, kind, age, got 'ta"):
        regression.load(config.data, config.noise)
    config.data.label_column = "kind"
    with pytest.raises(ValueError, match="expected a column of numbers, got kind of string"):
        regression.load(config.data, config.noise)
    config.data.label_column = "age"
    found = regression.load(config.data, config.noise)
    assert [len(part.index) for part in (found.train, found.test)] == [16, 4]
    sizes = np.array([float(size) for size, *_ in rows])
    mean, std = sizes[found.train.index].mean(), sizes[found.train.index].std()
    for part in (found.train, found.test):  # standardised by the training part alone
        np.testing.assert_array_equal(part.targets, 100 + part.index)
        inputs = part.inputs.of
        np.testing.assert_allclose(inputs[:, 0], (sizes[part.index] - mean) / std, rtol=1e-5)
        np.testing.assert_array_equal(inputs[:, 2], part.index % 2)
    assert regression.described(found, config.noise)[1].startswith("columns  1 of numbers")


def test_from_a_table_to_its_suspects(tmp_path, reported):
    text = NUMBERS + "2,red,x\n6,blue,y\n"
    config = config_of(written(tmp_path / "t.csv", text), validation_share=0.1)
    config.epochs, config.batch_size = 1, 2
    contents.note(config)
    run = tmp_path / "run"
    run.mkdir()
    built = build.build_run(config)
    assert built.problem.told[-1] == "model    mlp, which fits rows of numbers"
    train_one(config, built, run)
    files.write_json(run / files.CONFIG, config.to_dict())
    assert "suspects.csv" in reported("suspects", f"--workdir={run}")
    rows = list(csv.DictReader((run / "suspects.csv").read_text().splitlines()))
    assert len(rows) == 4
    given = {int(row["index"]): row["given_label"] for row in rows}
    assert all(label == text.splitlines()[1 + i][-1] for i, label in given.items())
    assert not (run / "suspects.png").exists()
    written(tmp_path / "t.csv", text + "7,red,x\n")
    contents.content.cache_clear()
    with pytest.raises(SystemExit, match="2"):
        reported("suspects", f"--workdir={run}")
