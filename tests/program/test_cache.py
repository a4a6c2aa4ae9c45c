"""Only an intact cache is read; without one, data are decoded again."""

import numpy as np
import pytest

from experiments import cache


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "records").write_bytes(b"123")
    return [tmp_path / "records"]


def counting_decoder():
    calls = []

    def decode():
        calls.append(1)
        return {"images": np.arange(12, dtype=np.uint8).reshape(3, 4), "labels": np.arange(3)}

    return decode, calls


def test_the_second_start_decodes_nothing(source):
    decode, calls = counting_decoder()
    first, second = (cache.cached("name", source, decode) for _ in range(2))
    assert len(calls) == 1
    assert set(second) == {"images", "labels"}
    for name in first:
        np.testing.assert_array_equal(second[name], first[name])
        assert second[name].dtype == first[name].dtype
    assert [path.suffix for path in cache.folder().iterdir()] == [".npz"]
    # Another version of the source is another file.
    source[0].write_bytes(b"1234")
    cache.cached("name", source, decode)
    assert len(calls) == 2


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "foreign"])
def test_damage_is_found_and_mended(source, damage, capsys):
    decode, calls = counting_decoder()
    expected = cache.cached("name", source, decode)
    (path,) = cache.folder().iterdir()
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[content.index(bytes(range(12))) + 5] ^= 1
    elif damage == "foreign":
        np.savez(path, images=np.zeros(3))
        content = bytearray(path.read_bytes())
    elif damage == "truncate":
        del content[len(content) // 2 :]
    else:
        content.clear()
    path.write_bytes(content)
    again = cache.cached("name", source, decode)
    assert len(calls) == 2
    np.testing.assert_array_equal(again["images"], expected["images"])
    assert "is not intact" in capsys.readouterr().err.replace("\n", " ")
    cache.cached("name", source, decode)
    assert len(calls) == 2


def test_a_cache_that_cannot_be_written_is_done_without(source, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    decode, calls = counting_decoder()
    for _ in range(2):
        cache.cached("name", source, decode)
    assert len(calls) == 2
    assert "cannot write" in capsys.readouterr().err.replace("\n", " ")
