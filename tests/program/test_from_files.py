"""Images that stay in their files: decoded when a batch needs them, with the results of memory."""

import jax
import numpy as np
import pytest
from PIL import Image

from configs import own
from experiments.data import Examples, folder, image_files
from experiments.data.encoded import Encoded, Unreadable, stays_encoded
from experiments.runs import files
from experiments.runs.samples import read_samples
from experiments.training import build, checkpoint, devices, loop
from experiments.training.order import epoch_order
from experiments.training.stream import stream
from tests.program.running import train_one

SIDE = 8


def make(root, number=9):
    """Writes a folder of noisy images of two classes and other sizes, PNG and JPEG, with a test."""
    drawn = np.random.default_rng(0)
    for part, count in (("train", number), ("test", 3)):
        for name in ("ant", "bee"):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = drawn.integers(0, 256, (SIDE + i % 3, SIDE + i % 2, 3), np.uint8)
                suffix = ".jpg" if i % 2 else ".png"
                Image.fromarray(pixels).save(root / part / name / f"{i}{suffix}")
    return root


@pytest.fixture(autouse=True)
def cached(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def test_rows_are_selected_before_they_are_decoded():
    pixels = np.random.default_rng(0).integers(0, 255, (6, 4, 5, 3), np.uint8)
    asked = []

    def read(place):
        asked.append(place)
        return pixels[place]

    images = Encoded(read, np.arange(6), (4, 5, 3))
    mask = np.array([False, True, False, True, True, False])
    chosen = images[mask].padded(2)[[2, 0, -1]]
    assert chosen.shape == (3, 8, 9, 3)
    assert (len(chosen), chosen.ndim, chosen.nbytes) == (3, 4, 3 * 8 * 9 * 3)
    assert not asked
    expected = np.zeros((3, 8, 9, 3), np.uint8)
    expected[:, 2:6, 2:7] = pixels[[4, 1, 4]]
    np.testing.assert_array_equal(np.asarray(chosen), expected)
    assert asked == [4, 1, 4]
    np.testing.assert_array_equal(images[np.int32(3)], pixels[3])
    assert images[1:1].shape == (0, 4, 5, 3)
    assert images.max() == pixels.max()
    assert len(jax.tree.leaves({"images": images})) == 1
    # 2**60 bytes are more than a machine has.
    assert [stays_encoded("auto", size) for size in (1, 2**60)] == [False, True]
    assert [stays_encoded(name, 1) for name in ("memory", "files")] == [False, True]


@pytest.mark.parametrize(("side", "damaged"), [(SIDE, False), (SIDE, True), (0, False)])
def test_files_hold_what_memory_holds(tmp_path, side, damaged):
    root = make(tmp_path)
    Image.new("L", (9, 30), 77).save(root / "train" / "bee" / "grey.png")
    if damaged:
        (root / "train" / "ant" / "3.jpg").write_bytes(b"no image")
        content = (root / "test" / "bee" / "0.png").read_bytes()
        (root / "test" / "bee" / "0.png").write_bytes(content[:60])  # its head is intact
        said = []
        for decode in ("memory", "files"):
            with pytest.raises(ValueError, match="2 files cannot be read") as caught:
                folder.read(str(root), SIDE, decode=decode)
            said.append(str(caught.value))
        assert said[0] == said[1]
    memory, encoded = (
        folder.read(str(root), side, "leave_out", decode) for decode in ("memory", "files")
    )
    assert memory._replace(train=0, validation=0, test=0) == encoded._replace(
        train=0, validation=0, test=0
    )
    assert encoded.train.is_encoded()
    assert encoded.test.is_encoded()
    for part in ("train", "test"):
        pair = getattr(memory, part), getattr(encoded, part).decoded()
        jax.tree.map(np.testing.assert_array_equal, *pair)


def test_files_are_looked_at_once_unless_they_change(tmp_path, monkeypatch):
    root = make(tmp_path)
    looked: list[str] = []
    square = image_files.square

    def counting(name, *rest):
        looked.append(name)
        return square(name, *rest)

    monkeypatch.setattr(image_files, "square", counting)
    first = folder.read(str(root), SIDE, decode="files")
    assert len(looked) == len({*looked}) == 24
    assert folder.read(str(root), SIDE, decode="files").mean == first.mean
    assert len(looked) == 24
    Image.new("RGB", (SIDE, SIDE), "white").save(root / "train" / "ant" / "0.png")
    brighter = folder.read(str(root), SIDE, decode="files")
    assert len(looked) == 48
    assert brighter.mean > first.mean


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_come_in_order_and_only_they_are_decoded(workers):
    pixels = np.random.default_rng(0).integers(0, 255, (50, 4, 4, 1), np.uint8)
    asked = []

    def read(place):
        asked.append(place)
        return pixels[place]

    order = np.array([[4, 3, 9, 0], [49, 7, 1, 2], [5, 6, -1, -1]], np.int32)
    numbers = np.arange(50, dtype=np.int32)
    data = Examples(Encoded(read, numbers, (4, 4, 1)), numbers, numbers, numbers)
    steps = list(stream(data, order, devices.layout(2), workers))
    for rows, (batch, places) in zip(order, steps, strict=True):
        np.testing.assert_array_equal(batch.inputs, pixels[rows])
        np.testing.assert_array_equal(batch.index, np.arange(50)[rows])
        np.testing.assert_array_equal(places[0], np.where(rows < 0, -1, np.arange(4)))
        assert len(batch.inputs.sharding.device_set) == 2
    assert sorted(asked) == sorted(np.arange(50)[order.ravel()])


def config_of(root, decode):
    config = own.get_config()
    config.devices, config.epochs, config.batch_size = 1, 3, 4
    config.data.path, config.data.decode, config.data.side = str(root), decode, SIDE
    config.data.validation_share = 0.2
    config.augment.pad, config.augment.flip = 1, True
    config.checkpoint.every_minutes = 0
    config.loss.method = "superloss"
    return config


def test_a_run_from_files_is_the_run_in_memory_though_a_file_was_gone(tmp_path, monkeypatch):
    root = make(tmp_path / "images")
    memory = tmp_path / "memory"
    memory.mkdir()
    config = config_of(root, "memory")
    train_one(config, build.build_run(config), memory)

    config = config_of(root, "files")
    torn = tmp_path / "files"
    torn.mkdir()
    run = build.build_run(config)
    assert run.dataset.train.is_encoded()
    assert run.dataset.validation.is_encoded()
    order = epoch_order(config.seed, 2, len(run.dataset.train.index), 4)
    name = run.dataset.files[run.dataset.train.index[order[2, 0]]]
    lost = root / name
    write_row = loop.record.write_row

    def losing(member, epoch, *rest):
        lost.rename(tmp_path / "elsewhere")
        return write_row(member, epoch, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(loop.record, "write_row", losing)
        with pytest.raises(Unreadable, match=rf"{name}: No such file .*; to go on, restore it"):
            train_one(config, run, torn)
    assert len(files.read_rows(torn / files.METRICS)) == 1
    [saved] = checkpoint.steps(torn / checkpoint.FOLDER)
    assert int(saved.name) == 4 + 2  # an epoch and the two batches before
    (tmp_path / "elsewhere").rename(lost)
    train_one(config, build.build_run(config), torn)
    assert (torn / files.METRICS).read_bytes() == (memory / files.METRICS).read_bytes()
    kept = read_samples(memory), read_samples(torn)
    jax.tree.map(np.testing.assert_array_equal, *kept)
