"""The commands of `python -m experiments.data`: show, check and prepare."""

import gzip
import hashlib
import subprocess
import sys

import numpy as np
import pytest

from experiments import data
from experiments.data import archives, check, download, show, sources
from tests.program.test_archives import contents, write_archive
from tests.program.test_data import NOISE, SPLIT, toy
from tests.program.test_main import ROOT


def test_show_draws_what_a_config_trains_on(tmp_path):
    from configs import digits

    dataset = data.split(data.corrupt(toy(), **NOISE), **SPLIT)
    show.draw_picture(dataset, digits.get_config().noise, tmp_path / "noise.png")
    from matplotlib import image

    pixels = image.imread(tmp_path / "noise.png")
    assert pixels.shape[0] > 1000
    # Some titles and frames are orange.
    orange = np.array([0xD5, 0x5E, 0x00]) / 255
    assert (abs(pixels[..., :3] - orange).max(-1) < 0.02).sum() > 500


def test_realised_matrix():
    noisy = data.corrupt(toy(), **(NOISE | {"exact": True})).train
    matrix = show.realised_matrix(noisy, 10)
    expected = np.full((10, 10), 0.4 / 9) + np.eye(10) * (0.6 - 0.4 / 9)
    np.testing.assert_allclose(matrix, expected, atol=2 / 900)
    assert (show.realised_matrix(noisy.rows(slice(0)), 10) == 0).all()


def test_show_from_the_command_line(tmp_path):
    command = [sys.executable, "-m", "experiments.data", "show", "--config=configs/digits.py"]
    command += ["--config.noise.rate=2", f"--output={tmp_path / 'noise.png'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: config.noise.rate: expected a number from 0 to 1, got 2.0\n"


def test_check_compares_with_what_is_known(monkeypatch, capsys):
    assert check.check(["digits"], None)
    assert "1297" in capsys.readouterr().out
    monkeypatch.setitem(check.KNOWN, "digits", (1298, 500, 10, (8, 8, 1)))
    assert not check.check(["digits"], None)
    assert "expected" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"data set: expected one of digits, .*did you mean"):
        check.check(["digit"], None)


@pytest.fixture
def no_tensorflow(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(download.importlib.util, "find_spec", lambda name: None)


def test_prepare_fetches_and_verifies(tmp_path, monkeypatch, no_tensorflow):
    (tmp_path / "server").mkdir()
    members, *_ = contents("cifar10")
    path = write_archive(tmp_path / "server", "cifar10", members, monkeypatch)
    good = archives.ARCHIVES["cifar10"]._replace(url=path.as_uri())
    root = tmp_path / "root"
    monkeypatch.setitem(archives.ARCHIVES, "cifar10", good._replace(sha256="0" * 64))
    with pytest.raises(ValueError, match="expected SHA-256 000"):
        download.prepare(["cifar10"], str(root))
    assert list(root.iterdir()) == []  # no partial or wrong file is left
    monkeypatch.setitem(archives.ARCHIVES, "cifar10", good)
    assert download.prepare(["cifar10"], str(root))
    assert [file.name for file in root.iterdir()] == ["cifar-10-binary.tar.gz"]
    path.unlink()  # it is not fetched again
    assert download.prepare(["cifar10"], str(root))
    with pytest.raises(ValueError, match="data set cifar10: cannot download: "):
        download.prepare(["cifar10"], str(tmp_path / "another"))
    with pytest.raises(ValueError, match="expected one of cifar10, cifar100, fashion_mnist, got"):
        download.prepare(["cifar"], str(root))


def test_prepare_removes_a_wrong_idx_file(tmp_path, monkeypatch, no_tensorflow):
    for file in archives.FASHION_MNIST:
        (tmp_path / f"{file}.gz").write_bytes(gzip.compress(b"not it"))
    monkeypatch.setattr(sources, "FASHION_MNIST_FOLDERS", ("",))
    monkeypatch.setattr(download, "FASHION_MNIST_URL", tmp_path.as_uri() + "/{name}.gz")
    with pytest.raises(ValueError, match=hashlib.sha256(b"not it").hexdigest()):
        download.prepare(["fashion_mnist"], str(tmp_path / "root"))
    assert list((tmp_path / "root").iterdir()) == []
