"""What is packed for a machine without a network comes out whole."""

import pathlib
import subprocess
import sys

from tests.program.test_main import ROOT


def packed(*arguments: str):
    command = [sys.executable, "-m", "scripts.pack_for_accelerator", "--extras=", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_parts_are_small_and_unpack_to_the_same_files(tmp_path):
    data = tmp_path / "data" / "set"
    data.mkdir(parents=True)
    (data / "file").write_bytes(bytes(range(256)) * 10_000)
    output = tmp_path / "packed"
    given = f"--output={output}", f"--data_dir={data.parent}", "--part_mb=5"
    done = packed(*given, "--data", "set", "nothing")
    assert done.returncode == 2
    assert "--data: expected paths in" in done.stderr
    assert not output.exists()
    assert packed(*given, "--data", "set").returncode == 0
    parts = sorted(output.glob("part.*"))
    assert len(parts) > 1
    assert all(part.stat().st_size <= 5_000_000 for part in parts)
    done = subprocess.run(
        ["bash", output / "unpack.sh"], cwd="/", capture_output=True, text=True, check=True
    )
    assert "-m experiments.sweep --config=configs/gpu_table.py" in done.stdout
    there = output / "superloss_jax"
    assert (there / "data/set/file").read_bytes() == (data / "file").read_bytes()
    for name in ("pyproject.toml", "experiments/main.py", "configs/gpu_table.py"):
        assert (there / name).read_bytes() == pathlib.Path(ROOT, name).read_bytes()
    assert packed(*given).returncode == 2  # the folder is not empty
