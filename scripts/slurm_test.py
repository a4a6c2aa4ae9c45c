"""Runs a sweep on a real local Slurm, disturbs its tasks, and checks that it survives.

    python scripts/slurm_test.py [--epochs=100]

Starts Debian's munged, slurmctld and two slurmd (two node names, loopback) in a temporary
directory, and runs a sweep of digits there. One task is preempted, one is warned of its time limit,
and one loses its node. Every result must equal that of a sweep without Slurm, bit by bit.
"""

import argparse
import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
FILES = ("config.json", "metrics.jsonl", "results.json", "samples.npz")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
NODES = ("node1", "node2")
SECONDS = 600  # timeout

SWEPT = """
from configs import digits

def get_config():
    config = digits.get_config()
    config.epochs = {epochs}
    config.checkpoint.every_epochs = 10
    return config

def sweep():
    for method in ("cross_entropy", "superloss"):
        for seed in range(2):
            yield {{"loss.method": method, "seed": seed, "noise.seed": seed}}
    yield {{"loss.method": "superloss", "optimizer.learning_rate": 1e30}}  # fails
"""

CONF = """
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={root}/munge.socket
StateSaveLocation={root}/state
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/%n.pid
SlurmdSpoolDir={root}/spool.%n
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdTimeout=5
SchedulerParameters=bf_interval=5,sched_interval=5
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1
PartitionName=main Nodes=node1,node2 Default=YES PriorityTier=1
PartitionName=urgent Nodes=node1,node2 PriorityTier=2 PreemptMode=OFF
"""


def free_ports(number):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def said(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


class Cluster:
    """The daemons, all in the foreground. They write only below `root`."""

    def __init__(self, root):
        self.root = root
        self.conf = root / "slurm.conf"
        self.daemons = {}

    def start(self):
        os.chmod(self.root, 0o711)  # munged requires that all users can reach its socket
        (self.root / "state").mkdir()
        key = self.root / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        user, host = said("id", "-un").strip(), socket.gethostname().partition(".")[0]
        self.conf.write_text(CONF.format(root=self.root, user=user, host=host, ports=free_ports(3)))
        os.environ["SLURM_CONF"] = str(self.conf)
        files = {"socket": "socket", "key-file": "key", "log-file": "log", "pid-file": "pid",
                 "seed-file": "seed"}  # fmt: skip
        places = [f"--{name}={self.root}/munge.{file}" for name, file in files.items()]
        self.daemon("munged", "munged", "--foreground", "--force", *places)
        wait("munged", lambda: (self.root / "munge.socket").exists())
        self.daemon("slurmctld", "slurmctld", "-D", "-f", str(self.conf))
        for node in NODES:
            self.daemon(node, "slurmd", "-D", "-N", node, "-f", str(self.conf))
        wait("two idle nodes", lambda: self.nodes().count("idle") == len(NODES))

    def daemon(self, name, *command):
        with open(self.root / f"{name}.log", "a") as log:
            self.daemons[name] = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True
            )

    def nodes(self):
        done = subprocess.run(["sinfo", "--noheader", "--Node", "--partition=main", "--format=%t"],
                              capture_output=True, text=True, check=False)  # fmt: skip
        return done.stdout.split()

    def tasks(self):
        """Returns the state, the node and the number of restarts of each task of an array."""
        lines = said("scontrol", "--oneliner", "show", "job").splitlines()
        jobs = [dict(word.partition("=")[::2] for word in line.split()) for line in lines]
        return {f"{job['ArrayJobId']}_{job['ArrayTaskId']}":
                (job["JobState"], job.get("NodeList", ""), int(job["Restarts"]))
                for job in jobs if job.get("ArrayTaskId", "").isdigit()}  # fmt: skip

    def fail(self, node):
        """Kills everything that runs on a node with SIGKILL, like a power failure."""
        self.daemons[node].kill()
        own = {f"SLURMD_NODENAME={node}".encode(), f"SLURM_CONF={self.conf}".encode()}
        found, keepers = set(), set()
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if own <= {*(process / "environ").read_bytes().split(b"\0")}:
                    found.add(int(process.name))
                    status = (process / "status").read_text()
                    parent = status.partition("PPid:")[2].split()[0]
                    if pathlib.Path(f"/proc/{parent}/comm").read_text().startswith("slurmstepd"):
                        keepers.add(int(parent))
        # slurmstepd first: it would report the end of the others.
        for number in [*keepers, *(found - keepers)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)

    def stop(self):
        for name in reversed(self.daemons):
            if name in NODES:
                self.fail(name)
            self.daemons[name].terminate()
        for daemon in self.daemons.values():
            daemon.wait(20)


def wait(what, true, seconds=SECONDS / 3):
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.5)


def sweep(config, runs, *flags):
    command = [sys.executable, "-m", "experiments.sweep", f"--config={config}"]
    with open(runs.with_suffix(".log"), "a") as log:
        return subprocess.Popen([*command, f"--workdir={runs}", *flags], cwd=ROOT, stdout=log,
                                stderr=log, start_new_session=True)  # fmt: skip


class Events:
    """Prints log lines with the seconds since the start."""

    def __init__(self):
        self.begun = time.monotonic()

    def __call__(self, text):
        print(f"{time.monotonic() - self.begun:5.0f} s  {text}", flush=True)


def disturb(cluster, runs, epochs, note):
    """Preempts one task, warns another of its time limit, and kills the node of a third."""
    spared = set()

    def in_the_midst(node):
        """Returns a task of the node that is in the middle of training, or ""."""
        paths = {file.read_text().strip(): file.parent for file in runs.glob("*/slurm.txt")}
        for task, (state, place, _) in cluster.tasks().items():
            if state == "RUNNING" and place == node and task in paths and task not in spared:
                metrics = paths[task] / "metrics.jsonl"
                if metrics.exists() and 10 < metrics.read_bytes().count(b"\n") < epochs / 2:
                    return task
        return ""

    def one(node):
        wait(f"a run on {node}", lambda: in_the_midst(node))
        spared.add(task := in_the_midst(node))
        return task

    def again(task):  # Slurm would wait two minutes
        wait(f"{task} in the queue", lambda: cluster.tasks()[task][0] == "PENDING")
        note(f"{task}: queued again; waits no longer")
        said("scontrol", "update", f"JobId={task}", "StartTime=now")

    note(f"{(first := one('node1'))}: preempted on node1 by a job of a higher partition")
    said("sbatch", "--partition=urgent", "--nodelist=node1", "--output=/dev/null", "--wrap=sleep 2")
    note(f"{(second := one('node2'))}: SIGUSR2 on node2, as before a time limit")
    # While other tasks of the array are pending, scancel keeps retrying, though the signal arrived.
    with subprocess.Popen(["scancel", "--signal=USR2", second], stderr=subprocess.DEVNULL) as call:
        again(second)
        call.kill()
    again(first)
    note(f"{(third := one('node2'))}: node2 fails: SIGKILL for slurmd and all it runs")
    cluster.fail("node2")
    again(third)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=100)
    args = parser.parse_args()
    if missing := [name for name in PROGRAMS if not shutil.which(name)]:
        print(f"error: expected {', '.join(PROGRAMS)}, found no {', '.join(missing)}; on Debian: "
              "apt-get install slurmctld slurmd slurm-client munge", file=sys.stderr)  # fmt: skip
        sys.exit(2)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the daemons are stopped
    note = Events()
    with tempfile.TemporaryDirectory(prefix="slurm_test_") as folder, contextlib.ExitStack() as end:
        root = pathlib.Path(folder)
        cluster = Cluster(root)
        end.callback(cluster.stop)
        try:
            wrong = check(root, cluster, args.epochs, note)
        except (TimeoutError, subprocess.CalledProcessError) as error:
            for name in (*cluster.daemons, "runs"):
                tail = (root / f"{name}.log").read_text().splitlines()[-15:]
                print(f"-- {name}", *tail, sep="\n")
            print(f"error: {error}", file=sys.stderr)
            wrong = True
    sys.exit(wrong)


def check(root, cluster, epochs, note):
    """Runs the test; returns whether anything went wrong."""
    cluster.start()
    note(f"{said('slurmctld', '-V').strip()}: two nodes, idle")
    config, straight, runs = root / "swept.py", root / "straight", root / "runs"
    config.write_text(SWEPT.format(epochs=epochs))
    reference = sweep(config, straight, "--workers=1")
    watching = sweep(config, runs, "--backend=slurm")
    wait("a task", lambda: any(task[0] == "RUNNING" for task in cluster.tasks().values()))
    watching.send_signal(signal.SIGINT)
    watching.wait(20)
    note(f"Ctrl-C: {last(runs)}")
    watching = sweep(config, runs, "--backend=slurm")
    try:
        disturb(cluster, runs, epochs, note)
        code = watching.wait(SECONDS)
        note(f"with Slurm: {last(runs)}")
        reference.wait(SECONDS)
        note(f"without: {last(straight)}")
    finally:
        for process in (watching, reference):
            process.terminate()
            process.wait(20)
    for line in (root / "runs.log").read_text().replace(str(root), "DIR").splitlines():
        print(line[:150])
    print("| run | task | last node | started anew | state | as without Slurm |")
    print("|---|---|---|---|---|---|")
    tasks = cluster.tasks()
    right = [code == 1, sum(restarts for *_, restarts in tasks.values()) == 3]  # one run fails
    for path in sorted(file.parent for file in runs.glob("*/slurm.txt")):
        task = (path / "slurm.txt").read_text().strip()
        state, node, restarts = tasks[task]
        right.append(equal(path, straight / path.name))
        name, outcome = path.name.rpartition("-")[0], "equal" if right[-1] else "FAILED"
        print(f"| {name} | {task} | {node} | {restarts} | {state} | {outcome} |")
    note("all as it must be" if all(right) else "FAILED")
    return not all(right)


def equal(path, other):
    """Whether two runs ended with bit-identical files, or with the same failure."""
    if (path / "failed.txt").exists() and (other / "failed.txt").exists():
        reasons = [(one / "failed.txt").read_text().partition("; see")[0] for one in (path, other)]
        return reasons[0] == reasons[1]
    return all((path / f).read_bytes() == (other / f).read_bytes() for f in FILES)


def last(runs):
    lines = runs.with_suffix(".log").read_text().splitlines()
    return next(
        line for line in reversed(lines) if re.search("^error:|^stopped |runs are done", line)
    )


if __name__ == "__main__":
    main()
