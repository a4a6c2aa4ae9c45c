"""Guards against slower programs without measuring time: compares what the compiler makes of them.

    python -m scripts.bench_guard            # exit code 1 where a figure grew by more than 10 %
    python -m scripts.bench_guard --accept   # writes today's figures into docs/bench_guard.json

Of each program, the figures are floating-point operations, bytes accessed, bytes of temporary
memory, and numbers of loops, fusions, convolutions, transposes and copies. They hold for one
version of jaxlib, on CPU; with another version, nothing is compared.
"""

import argparse
import json
import os
import pathlib
import re
import sys
from collections.abc import Callable

if __name__ == "__main__":  # before JAX is imported
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"  # on any number of cores

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np

from experiments import streams
from experiments.tasks.base import At
from experiments.training import evaluation
from experiments.training.step import init_state
from scripts import random_images, steps
from superloss_jax import superloss

FILE = pathlib.Path(__file__).parent.parent / "docs" / "bench_guard.json"
COUNTED = {
    "loops": "while", "fusions": "fusion", "convolutions": "convolution",
    "transposes": "transpose", "copies": "copy",
}  # fmt: skip
ALLOWED = 0.1

Figures = dict[str, float]


def figures(compiled) -> Figures:
    """What the compiler says of a program."""
    cost = compiled.cost_analysis()
    text = re.sub(r", metadata=\{.*?\}", "", compiled.as_text())  # names of Python's functions
    found = {
        "flops": cost.get("flops", 0.0),
        "bytes accessed": cost.get("bytes accessed", 0.0),
        "temporary bytes": compiled.memory_analysis().temp_size_in_bytes,
    }
    counts = {name: len(re.findall(rf" {word}\(", text)) for name, word in COUNTED.items()}
    return {name: float(value) for name, value in (found | counts).items()}


def grown(name: str, now: Figures, before: Figures) -> list[str]:
    """A line for each figure that is more than a tenth above what it was; a new one always is."""
    return [
        f"{name}: {figure} {before.get(figure, 0):,.0f} -> {value:,.0f}"
        for figure, value in now.items()
        if value > (1 + ALLOWED) * before.get(figure, 0)
    ]


def superloss_forward():
    transform = superloss()
    losses = jax.ShapeDtypeStruct((4096,), jnp.float32)
    return jax.jit(transform.update).lower(losses, transform.init()).compile()


def superloss_gradient():
    transform = superloss()

    def mean(losses, state):
        values, state = transform.update(losses, state)
        return values.mean(), state

    losses = jax.ShapeDtypeStruct((4096,), jnp.float32)
    both = jax.jit(jax.value_and_grad(mean, has_aux=True))
    return both.lower(losses, transform.init()).compile()


def _lenet(crop: bool) -> steps.Loaded:
    config = random_images.get_config()
    config.batch_size, config.model.name, config.loss.method = 128, "lenet", "superloss"
    config.augment.pad, config.augment.flip = (4, True) if crop else (0, False)
    return steps.load(config)


def lenet_step():
    made = steps.Steps(_lenet(crop=False))
    return made.step.lower(made.state, made.train, made.order).compile()


def input_step():
    loaded = _lenet(crop=True)

    def draw(train, rows, seed, step):
        return loaded.run.problem.draw(train, rows, At(seed, step)).inputs

    rows, number = np.zeros(128, np.int32), np.int32(0)
    return jax.jit(draw).lower(loaded.train, rows, number, number).compile()


def evaluation_batch():
    loaded = _lenet(crop=False)
    evaluate = jax.jit(evaluation.make_evaluate(loaded.run))
    examples = loaded.run.dataset.train.rows(slice(evaluation.EVALUATION_BATCH))
    return evaluate.lower(init_state(loaded.run, 0), examples).compile()


PROGRAMS: dict[str, Callable] = {
    "SuperLoss of 4096 losses": superloss_forward,
    "SuperLoss's gradient": superloss_gradient,
    "LeNet step, batch 128": lenet_step,
    "input of 128 images": input_step,
    "evaluation of 1000 images": evaluation_batch,
}


def main() -> int:
    streams.keep()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--accept", action="store_true", help="today's figures are right")
    args = parser.parse_args()
    now = {name: figures(make()) for name, make in PROGRAMS.items()}
    if args.accept:
        content = {"jaxlib": jaxlib.__version__, "figures": now}
        FILE.write_text(json.dumps(content, indent=1) + "\n")
        print(f"written: {FILE}")
        return 0
    known = json.loads(FILE.read_text())
    if known["jaxlib"] != jaxlib.__version__:
        print(f"not compared: figures of jaxlib {known['jaxlib']}, this is {jaxlib.__version__}")
        return 0
    lines = []
    for name, one in now.items():
        lines += grown(name, one, known["figures"].get(name, {}))
    print(*lines, sep="\n", end="\n" * bool(lines))
    if lines:
        print("if this is meant: python -m scripts.bench_guard --accept, and commit the file")
        return 1
    print(f"no figure of {len(now)} programs grew by more than a tenth")
    return 0


if __name__ == "__main__":
    sys.exit(main())
