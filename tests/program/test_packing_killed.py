"""No finished run is lost if packing is killed, whatever the moment."""

import contextlib
import pathlib
import shutil

import pytest

from experiments.runs import files, lock, packing
from tests.program.test_packing import files_below, make, sweep, values


class Killed(BaseException):
    pass


STEPS = ((files, "write_aside"), (files, "put_in_place"), (pathlib.Path, "unlink"),
         (pathlib.Path, "rmdir"))  # fmt: skip


@contextlib.contextmanager
def killed_at(number, after):
    """Raises Killed before or after file operation `number`; yields the operations so far."""
    made = [0]

    def killing(step, name):
        def do(*args, **kwargs):
            made[0] += 1
            if made[0] <= number:
                return step(*args, **kwargs)
            if made[0] == number + 1 and after:
                step(*args, **kwargs)
            elif made[0] == number + 1 and name == "write_aside":
                step(args[0], args[1][: len(args[1]) // 2])
            raise Killed

        return do

    with pytest.MonkeyPatch.context() as patch:
        for where, name in STEPS:
            patch.setattr(where, name, killing(getattr(where, name), name))
        yield made


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", ["first", "more", "alone"])
def test_nothing_is_lost_whatever_moment_it_is_killed_at(tmp_path, kind, after):
    template = tmp_path / "template"
    if kind == "alone":
        make(template, losses=True)
    else:
        sweep(template, 2)
    if kind == "more":
        packing.pack(template)
        make(template / "more", "elr", losses=True)
    before = values(template)
    packing.pack(shutil.copytree(template, tmp_path / "whole"))
    expected = {name: (tmp_path / "whole" / name).read_bytes()
                for name in files_below(tmp_path / "whole") if name != lock.LOCK}  # fmt: skip
    for number in range(1000):
        root = shutil.copytree(template, tmp_path / str(number))
        with killed_at(number, after) as made, contextlib.suppress(Killed):
            packing.pack(root)
        if made[0] <= number:
            assert number > 8
            break
        assert values(root) == before, number
        with killed_at(number // 2, after), contextlib.suppress(Killed):  # killed a second time
            packing.pack(root)
        assert values(root) == before, number
        assert packing.pack(root).left == {}
        assert values(root) == before
        found = {name: (root / name).read_bytes() for name in files_below(root)}
        del found[lock.LOCK]
        assert found == expected, number
    else:
        pytest.fail("it never ended")
