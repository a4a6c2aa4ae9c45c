"""The program's own training steps, for benchmarks."""

from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.data import Examples
from experiments.training import build, devices, loop
from experiments.training.order import epoch_order
from experiments.training.step import init_state, make_train_step


class Loaded(NamedTuple):
    config: Any
    run: build.Run
    train: Examples  # a copy on every device


def load(config, data_dir: str | None = None) -> Loaded:
    run = build.build_run(config, data_dir)
    host = run.problem.stored(run.dataset.train)
    return Loaded(config, run, devices.replicate(host, run.layout))


class Steps:
    """A run of seed 0, or several runs of seeds 0, 1, ... at once under vmap, on the same data."""

    def __init__(self, loaded: Loaded, number: int = 1):
        (config, run, self.train), seeds = loaded, range(number)
        size = len(run.dataset.train.index)
        states = [init_state(run, seed) for seed in seeds]
        orders = [epoch_order(seed, 1, size, config.batch_size, run.layout) for seed in seeds]
        self.state, self.order, self.step = states[0], orders[0], make_train_step(run)
        if number > 1:
            both = [*zip(states, orders, strict=True)]
            stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *both)
            self.state, self.order = devices.replicate(stacked, run.layout)
            over_runs = jax.vmap(self.step, in_axes=(0, None, 0))
            self.step = jax.jit(over_runs, donate_argnums=0)

    def take(self, count: int) -> None:
        """Takes `count` steps and waits for them. Like the program, it dispatches LATE ahead."""
        dispatched: list = []
        for _ in range(count):
            self.state, failed = self.step(self.state, self.train, self.order)
            dispatched.append(failed)
            if len(dispatched) > loop.LATE:
                assert not np.any(dispatched.pop(0)), "a loss was not finite"
        jax.block_until_ready(self.state)
