"""Measures training steps of this program, for bench_train.py and bench_methods.py.

    python -m scripts.jax_train THREADS   # 1, or 0 for all

Reads names of cases from stdin, one per line, and answers with CPU and wall seconds per step.
"""

import functools
import json
import os
import sys
import time
from collections.abc import Callable

if sys.argv[1] == "1":
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"

import jax
import numpy as np

from configs import digits
from experiments import streams
from experiments.models import cpu
from experiments.tasks.classification import cross_entropy
from experiments.training import methods
from scripts import random_images, steps

Take = Callable[[int], None]  # takes the given number of steps


def step_of(
    name: str, batch: int, *, task="task", method="cross_entropy", crop=False, scan=0
) -> Take:
    """Returns the program's own step: draw, normalise, loss, gradients, metrics, update."""
    config = random_images.get_config()
    config.task = f"scripts.random_images:{task}"
    config.model.name, config.batch_size, config.loss.method = name, batch, method
    config.augment.pad, config.augment.flip = (4, True) if crop else (0, False)
    made = steps.Steps(steps.load(config))
    if not scan:
        return made.take
    made.step = scanned(made.step, scan)
    return lambda number: made.take(max(1, number // scan))


def scanned(step, length: int):
    @functools.partial(jax.jit, donate_argnums=0)
    def many(state, train, order):
        def body(state, _):
            return step(state, train, order)[0], None

        state, _ = jax.lax.scan(body, state, length=length)
        return state, state.failed

    return many


def bare(method: str, batch=4096, examples=50_000, classes=10) -> Take:
    """Computes losses, their gradient by the logits, and the method's state, without a network."""
    config = digits.get_config()
    config.loss.method = method
    matrix = 0.6 / classes + 0.4 * np.eye(classes)
    facts = methods.Facts(
        examples, classes, steps=1000, matrix=lambda: matrix, rate=lambda step: 0.1,
        counts=lambda: np.ones(classes),
    )  # fmt: skip
    transform = methods.make_method(config.loss, facts)
    rng = np.random.default_rng(0)
    shape = (2, batch, classes) if methods.networks(config.loss) == 2 else (batch, classes)
    logits = jax.device_put(rng.normal(size=shape).astype(np.float32))
    labels = rng.integers(0, classes, batch, np.int32)
    index = rng.permutation(examples)[:batch].astype(np.int32)
    labels, index = (jax.device_put(np.broadcast_to(x, shape[:-1])) for x in (labels, index))

    # Labels and index are arguments: the compiler would sort constant ones once and for all.
    @functools.partial(jax.jit, donate_argnums=0)
    def step(state, logits, labels, index):
        def objective(logits):
            losses = cross_entropy(logits, labels)
            inputs = {"logits": logits, "labels": labels, "index": index}
            losses, new = transform.update(losses, state, **inputs)
            return losses.mean(axis=-1).sum(), new

        return jax.grad(objective, has_aux=True)(logits)

    state = transform.init()

    def take(number):
        nonlocal state
        for _ in range(number):
            gradient, state = step(state, logits, labels, index)
        jax.block_until_ready((gradient, state))

    return take


LENET = functools.partial(step_of, "lenet", 128)
CASES: dict[str, tuple[Callable[[], Take], int]] = {
    "lenet 128": (LENET, 20),
    "lenet 128, plain": (lambda: LENET(task="plain_lenet"), 10),
    "lenet 128, scan": (lambda: LENET(scan=10), 20),
    "lenet 128, crop": (lambda: LENET(crop=True), 20),
    "lenet 512": (lambda: step_of("lenet", 512), 5),
    "lenet 512, plain": (lambda: step_of("lenet", 512, task="plain_lenet"), 3),
    "convnet 64": (lambda: step_of("convnet", 64), 3),
    "convnet 64, plain": (lambda: step_of("convnet", 64, task="plain_convnet"), 3),
    "convnet 64, scan": (lambda: step_of("convnet", 64, scan=3), 3),
    "resnet18 8": (lambda: step_of("resnet18", 8), 3),
    "resnet18 8, superloss": (lambda: step_of("resnet18", 8, method="superloss"), 3),
    "lenet 50, crop": (lambda: step_of("lenet", 50, crop=True), 100),
}
for method in methods.METHODS:
    CASES[f"lenet 128, {method}"] = functools.partial(LENET, method=method), 10
    CASES[f"bare 4096, {method}"] = functools.partial(bare, method), 100


def main() -> None:
    streams.keep()
    cpu.keep_freed_memory()  # as the program does
    made: dict[str, Take] = {}
    for line in sys.stdin:
        name = line.strip()
        make, number = CASES[name]
        if name not in made:
            made[name] = make()
            made[name](number)
        used, begun = time.process_time(), time.perf_counter()
        made[name](number)
        used, wall = time.process_time() - used, time.perf_counter() - begun
        answer = {"cpu": used / number, "wall": wall / number, "version": jax.__version__}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
