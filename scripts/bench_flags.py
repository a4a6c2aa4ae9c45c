"""Which flags of XLA make a small step faster on a GPU: ResNet-18, bfloat16, beside PyTorch.

    python -m scripts.bench_flags [--torch_python .venv-torch/bin/python] [--batches=50,1024]

A step of batch 50 takes an H100 longer to launch than to compute. Each form has a process of its
own, since flags are read when JAX starts, and the forms take turns for `--rounds`. PyTorch's is
torch.compile with max-autotune, CUDA graphs, cudnn.benchmark and channels_last. `--batches=4
--steps=1 --rounds=1` is a trial on a CPU, where the flags mean nothing.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys

import jax
import optax
from jax import lax

from experiments import checks, streams
from experiments.progress import console
from scripts import random_images, steps
from scripts.bench_accelerator import seconds_of

ROOT = pathlib.Path(__file__).parent.parent
SCANNED = 10  # steps of one program
GRAPH = "--xla_gpu_enable_command_buffer=+CONVOLUTION"
FORMS = {  # flags, whether the optimizer's state is one array, steps of one program
    "plain": ("", False, 1),
    "convolutions in graphs": (GRAPH, False, 1),
    "graphs of one": (f"{GRAPH} --xla_gpu_graph_min_graph_size=1", False, 1),
    "fused convolutions": ("--xla_gpu_experimental_enable_conv_fusion=true", False, 1),
    "NHWC": ("--xla_gpu_force_conv_nhwc=true", False, 1),
    "flat optimizer": (GRAPH, True, 1),
    "ten steps": (f"{GRAPH},+WHILE,+CONDITIONAL", False, SCANNED),
    "ten steps, unrolled": (
        f"{GRAPH},+WHILE,+CONDITIONAL --xla_gpu_command_buffer_unroll_loops=true", False, SCANNED,
    ),
}  # fmt: skip


def step_ms(form: str, batch: int, count: int) -> float:
    """Measures a step in this process, whose flags the caller has set."""
    _, flat, number = FORMS[form]
    config = random_images.get_config()
    config.examples, config.batch_size = 50_000, batch
    config.model.name, config.model.dtype = "resnet18", "bfloat16"
    config.augment.pad, config.augment.flip = 4, True
    loaded = steps.load(config)
    if flat:
        run = loaded.run
        loaded = loaded._replace(run=run._replace(optimizer=optax.flatten(run.optimizer)))
    runs = steps.Steps(loaded)
    if number > 1:
        runs.step = several(runs.step, number)
    return 1e3 * seconds_of(runs.take, max(1, count // number)) / number


def several(step, number: int):
    def take(state, train, order):
        state, failed = lax.scan(lambda s, _: step(s, train, order), state, length=number)
        return state, failed

    return jax.jit(take, donate_argnums=0)


def measured(command: list[str], flags: str) -> float | None:
    """Returns what a process measures, in ms; None if it fails."""
    env = os.environ | {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        console.print(f"{command[-1]}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
        return None
    return float(done.stdout.split()[-1])


def naturals(text: str) -> list[int]:
    return [checks.natural(one) for one in text.split(",")]


def main() -> None:
    streams.keep()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch_python", help="interpreter with torch, to compare")
    parser.add_argument("--batches", type=naturals, default=[50, 1024])
    parser.add_argument("--steps", type=checks.natural, default=100)
    parser.add_argument("--rounds", type=checks.natural, default=3)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=[*FORMS])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(step_ms(args.one, args.batches[0], args.steps))
        return
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, ResNet-18, bfloat16")
    print("| form | batch | ms a step | of plain | of PyTorch |\n| --- | --- | --- | --- | --- |")
    for batch in args.batches:
        own = [f"--batches={batch}", f"--steps={args.steps}"]
        ours = [sys.executable, "-m", "scripts.bench_flags", *own]
        commands = {name: [*ours, f"--one={name}"] for name in args.forms}
        if args.torch_python:
            theirs = [args.torch_python, "scripts/torch_accelerator.py", str(batch)]
            commands["PyTorch"] = [*theirs, str(args.steps), "max-autotune"]
        times: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(args.rounds):
            for name, command in commands.items():
                console.print(f"batch {batch}, round {number + 1}/{args.rounds}: {name}")
                if (one := measured(command, FORMS.get(name, ("",))[0])) is not None:
                    times[name].append(one)
        print("\n".join(rows(batch, times)), flush=True)


def rows(batch: int, times: dict[str, list[float]]) -> list[str]:
    """A line for each form, by medians."""
    medians = {name: statistics.median(some) for name, some in times.items() if some}

    def ratio(name: str, other: str) -> str:
        known = name != other and other in medians
        return f"{medians[name] / medians[other]:.2f}" if known else "-"

    return [
        f"| {name} | {batch} | {value:.2f} | {ratio(name, 'plain')} | {ratio(name, 'PyTorch')} |"
        for name, value in medians.items()
    ]


if __name__ == "__main__":
    main()
