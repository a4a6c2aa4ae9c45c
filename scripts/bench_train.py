"""Compares training steps with PyTorch's and with plain ones, and measures parts of a step.

    . scripts/torch_environment
    python -m scripts.bench_train --torch_python .venv-torch/bin/python

One thread each, process CPU time, medians of interleaved rounds. The comparison with a DataLoader,
which starts processes, also uses wall time on all cores. `--data_dir` adds the time to the first
step.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from experiments import checks, streams

ROOT = pathlib.Path(__file__).resolve().parent.parent
JAX = [
    "lenet 128", "lenet 128, plain", "lenet 128, scan", "lenet 128, crop", "lenet 128, superloss",
    "lenet 512", "lenet 512, plain", "convnet 64", "convnet 64, plain", "convnet 64, scan",
    "resnet18 8", "resnet18 8, superloss",
]  # fmt: skip
TORCH = ["lenet 128", "lenet 512", "convnet 64", "resnet18 8"]
# Description, numerator, denominator, and the largest ratio that is right, where one is known.
RATIOS = [
    ("LeNet, batch 128: PyTorch", "jax lenet 128", "torch lenet 128", None),
    ("LeNet, batch 128, plain: PyTorch", "jax lenet 128, plain", "torch lenet 128", None),
    ("LeNet, batch 512: PyTorch", "jax lenet 512", "torch lenet 512", None),
    ("LeNet, batch 512, plain: PyTorch", "jax lenet 512, plain", "torch lenet 512", None),
    ("ConvNet, batch 64: PyTorch", "jax convnet 64", "torch convnet 64", None),
    ("ConvNet, batch 64, plain: PyTorch", "jax convnet 64, plain", "torch convnet 64", None),
    ("ResNet-18, batch 8: PyTorch", "jax resnet18 8", "torch resnet18 8", None),
    ("LeNet: ten steps in a scan: in a loop", "jax lenet 128, scan", "jax lenet 128", 1.05),
    ("ConvNet: three steps in a scan: in a loop", "jax convnet 64, scan", "jax convnet 64", 1.05),
    ("LeNet with crop and flip: without", "jax lenet 128, crop", "jax lenet 128", 1.03),
    ("LeNet, SuperLoss: cross entropy", "jax lenet 128, superloss", "jax lenet 128", 1.02),
    ("ResNet-18, SuperLoss: cross entropy", "jax resnet18 8, superloss", "jax resnet18 8", 1.005),
]


OURS = (sys.executable, "-m", "scripts.jax_train")


def theirs(python: str) -> tuple[str, ...]:
    return python, "scripts/torch_train.py"  # run as a file: our packages are not installed there


class Worker:
    """A process that receives the name of a case and answers with its seconds per step."""

    def __init__(self, program, threads, core=None):
        command = [*program, str(threads)]
        if core is not None:
            command = ["taskset", "-c", str(core), *command]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, cwd=ROOT, **pipes)

    def ask(self, case):
        self.start(case)
        return self.answer()

    def start(self, case):
        self.process.stdin.write(case + "\n")
        self.process.stdin.flush()

    def answer(self):
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def steps(args):
    workers = {"jax": Worker(OURS, 1, args.core)}
    cases = [("jax", case) for case in JAX]
    if args.torch_python:
        workers["torch"] = Worker(theirs(args.torch_python), 1, args.core)
        cases += [("torch", case) for case in TORCH]
    cases.sort(key=lambda pair: pair[1])  # cases that are compared run in succession
    rounds = {f"{who} {case}": [] for who, case in cases}
    versions = {}
    for number in range(args.rounds):
        for who, case in cases:
            answer = workers[who].ask(case)
            rounds[f"{who} {case}"].append(answer["cpu"])
            versions[who] = answer["version"]
        print(f"round {number + 1}/{args.rounds}", file=sys.stderr, flush=True)
    for worker in workers.values():
        worker.close()
    seconds = {case: statistics.median(values) for case, values in rounds.items()}
    # The median of the ratios per round, because a busy moment slows both.
    ratios = {
        text: statistics.median(a / b for a, b in zip(rounds[over], rounds[under], strict=True))
        for text, over, under, _ in RATIOS
        if over in rounds and under in rounds
    }
    return versions, seconds, ratios


def loader(args):
    """Measures images per wall and CPU second: one and two runs of ours, and a DataLoader loop."""
    ours = Worker(OURS, 0)
    torch = Worker(theirs(args.torch_python), 1)
    pair = [Worker(OURS, 1) for _ in range(2)]
    rounds = []
    for _ in range(3):
        answers = {"one": ours.ask("lenet 50, crop")}
        for worker in pair:
            worker.start("lenet 50, crop")
        both = [worker.answer() for worker in pair]
        answers["loader"] = torch.ask("lenet 50, loader")
        one = {f"{who}, {clock}": (5000 if who == "loader" else 50) / answer[clock]
               for who, answer in answers.items() for clock in ("wall", "cpu")}  # fmt: skip
        rounds.append(one | {"two, wall": sum(50 / answer["wall"] for answer in both)})
    for worker in (ours, torch, *pair):
        worker.close()
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


def start(args):
    """Measures the seconds from program start to the end of the first step, cold and warm."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("cold", "warm"):
            command = [sys.executable, "-m", "experiments.main", "--config=configs/cifar10.py"]
            command += [f"--workdir={folder}/{name}", f"--data_dir={args.data_dir}"]
            env = os.environ | {"JAX_COMPILATION_CACHE_DIR": f"{folder}/cache"}
            begun = time.perf_counter()
            pipe = {"stderr": subprocess.PIPE, "text": True}
            process = subprocess.Popen(command, cwd=ROOT, env=env, **pipe)
            for line in process.stderr:
                if "first step" in line:
                    break
            found.append(time.perf_counter() - begun)
            process.kill()
            process.communicate()
    return found


def show_steps(seconds, ratios):
    for case, value in seconds.items():
        print(f"  {case:30s} {1e3 * value:9.2f} ms")
    goals = {text: goal for text, _, _, goal in RATIOS}
    for text, value in ratios.items():
        goal = f"   (at most {goals[text]})" if goals[text] else ""
        print(f"  {text:45s} {value:6.3f}{goal}")


def show_loader(speeds):
    print("  LeNet, batch 50, crop and flip, images/s: " + ", ".join(
        f"{name} {value:,.0f}" for name, value in speeds.items()))  # fmt: skip
    for name, clock in (("one", "wall"), ("two", "wall"), ("one", "cpu")):
        ratio = speeds[f"{name}, {clock}"] / speeds[f"loader, {clock}"]
        print(f"    {name} of ours to a DataLoader with PIL, by {clock}: {ratio:.1f} times")


def main():
    streams.keep()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch_python", help="interpreter with torch and torchvision")
    parser.add_argument("--rounds", type=checks.natural, default=7)
    parser.add_argument("--core", type=int, default=0, help="the core that all steps run on")
    parser.add_argument("--data_dir", help="measure the time to the first step, with this CIFAR-10")
    parser.add_argument("--output", help="JSON file to write")
    args = parser.parse_args()
    versions, seconds, ratios = steps(args)
    print(f"{versions}, one thread, CPU time, medians of {args.rounds} rounds")
    show_steps(seconds, ratios)
    found = {"versions": versions, "seconds": seconds, "ratios": ratios}
    if args.torch_python:
        found["images_per_second"] = loader(args)
        show_loader(found["images_per_second"])
    if args.data_dir:
        found["first_step"] = start(args)
        cold, warm = found["first_step"]
        print(f"  first step after {cold:.1f} s (at most 15), compiled before: {warm:.1f} s (6)")
    if args.output:
        pathlib.Path(args.output).write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
