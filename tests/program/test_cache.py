"""Only an intact cache is read; without one, data are decoded again. Its size is bounded."""

import os
import shutil
import threading

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


def entries():
    return sorted(path.name for path in cache.folder().iterdir())


def test_copies_are_one_entry(source, tmp_path):
    decode, calls = counting_decoder()
    cache.cached("name", source, decode)
    for i in range(3):
        (tmp_path / str(i)).mkdir()
        copy = shutil.copyfile(source[0], tmp_path / str(i) / source[0].name)
        os.utime(copy, (i, i))
        cache.cached("name", [copy], decode)
    assert len(entries()) == len(calls) == 1
    # The same size and time, but not the same content.
    status = source[0].stat()
    source[0].write_bytes(b"124")
    os.utime(source[0], ns=(status.st_atime_ns, status.st_mtime_ns))
    cache.cached("name", source, decode)
    assert len(entries()) == len(calls) == 2


def test_the_entries_used_longest_ago_are_removed(source, monkeypatch):
    def use(name):
        cache.cached(name, source, decode)

    decode, calls = counting_decoder()
    use("a")
    (first,) = cache.folder().iterdir()
    monkeypatch.setattr(cache, "MOST_BYTES", 3 * first.stat().st_size)
    for name in "bc":
        use(name)
    for i, name in enumerate("abc"):  # used at these times
        (path,) = cache.folder().glob(f"{name}-*")
        os.utime(path, (i, i))
    use("a")  # now b is the one used longest ago
    assert len(calls) == 3
    # What others have in the same folder is neither counted nor removed.
    foreign = cache.folder() / "compiled"
    foreign.mkdir()
    (foreign / "program").write_bytes(bytes(10**6))
    (cache.folder() / "notes.npz").write_bytes(bytes(10**6))
    use("d")
    assert [name[0] for name in entries()] == ["a", "c", "c", "d", "n"]
    assert (foreign / "program").exists()
    # One that is larger than the bound is kept until the next one comes.
    monkeypatch.setattr(cache, "MOST_BYTES", 1)
    use("e")
    assert [name[0] for name in entries()] == ["c", "e", "n"]


def test_what_a_killed_process_left_is_removed_a_day_later(source):
    decode, _ = counting_decoder()
    cache.cached("a", source, decode)
    old, new = (cache.folder() / f".{name}{cache.UNFINISHED}" for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"torn")
    os.utime(old, (0, 0))
    cache.cached("b", source, decode)
    assert not old.exists()
    assert new.exists()


def test_several_at_once_lose_nothing_but_time(source, monkeypatch):
    """Everyone writes and removes at the same time; all get what they asked for."""
    monkeypatch.setattr(cache, "MOST_BYTES", 1000)
    failures = []

    def work(number):
        try:
            for i in range(20):
                value = (number + i) % 5
                arrays = {"images": np.full(100, value, np.uint8)}
                found = cache.cached(f"set{value}", source, lambda arrays=arrays: arrays)
                np.testing.assert_array_equal(found["images"], arrays["images"])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert all(cache.ENTRY.fullmatch(name) for name in entries())
