"""A Slurm of shell scripts, and points to submit to it."""

import json
import os
import sys
import time

from experiments.runs import files
from experiments.sweep import pool as pools

FAKES = {
    # Reads the number of tasks from the array option, and answers like sbatch.
    "sbatch": """
grep -q -- '--wrong=' "$1" && echo "sbatch: unrecognized option" >&2 && exit 1
cp "$1" {folder}/script
n=$(($(cat {folder}/count) + 1)); echo $n > {folder}/count
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\)%.*/\\1/p' "$1")
for i in $(seq 0 "${{last:--1}}"); do echo "${{n}}_$i|PENDING|Resources"; done >> {folder}/queue
[ "$last" ] || echo "$n|PENDING|Resources" >> {folder}/queue
echo "Submitted batch job $n"
""",
    "squeue": "echo x >> {folder}/asked\ncat {folder}/queue\n",
    "srun": "",
    "scontrol": 'echo "$@" >> {folder}/calls\n',
}


def cluster(tmp_path, monkeypatch):
    """A directory with a queue file, which a fake sbatch fills and a fake squeue prints."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    (folder / "count").write_text("6\n")
    (folder / "queue").write_text("")
    (folder / "asked").write_text("")
    for name, text in FAKES.items():
        (folder / name).write_text(f"#!/bin/bash\n{text.format(folder=folder)}")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def point(root, name, code="pass"):
    return pools.Point(root / name, name, [sys.executable, "-c", code])


def finish(one):
    one.path.mkdir(parents=True, exist_ok=True)
    (one.path / files.RESULTS).write_text(json.dumps({"config_sha256": one.sha256}))


def rewrite(cluster, old, new):
    queue = cluster / "queue"
    assert old in queue.read_text()
    (whole := cluster / "whole").write_text(queue.read_text().replace(old, new))
    whole.replace(queue)


def wait_for_a_look(cluster):
    """Waits until squeue has shown the current queue. The next call may have started earlier."""
    before, deadline = len((cluster / "asked").read_text()), time.monotonic() + 20
    while len((cluster / "asked").read_text()) < before + 4 and time.monotonic() < deadline:
        time.sleep(0.01)
