"""SELF with the paper's rounds, on digits as in configs/self_digits.py: what rounds are worth.

    python -m scripts.self_rounds

Each round trains a mean teacher, takes the epoch that is best on noisy validation labels, adds its
predictions to the average and filters the labels of the next round, as the paper's pseudocode does.
Each starts from new weights here. They end when one is worse than the one before, or after six: 15
runs of 2 to 6 rounds, of some 3 s each on a CPU core. It prints the table of docs/mean_teacher.md.
"""

import statistics
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from configs import self_digits
from experiments import streams
from experiments.progress import console
from experiments.training import build, step
from experiments.training.order import epoch_order
from superloss_jax import LossTransform

ROUNDS, SEEDS, DECAY = 6, 3, 0.9


class Best(NamedTuple):
    """The epoch of a round that is best on validation labels, the later one of equals."""

    validation: float
    test: float
    variables: Any


def kept_labels(facts) -> LossTransform:
    """A method whose state says which labels count."""

    def update(losses, state, *, index, where=True, **unused):
        return jnp.where(state[index] & where, losses, 0), state

    return LossTransform(lambda: jnp.ones(facts.num_examples, bool), update)


def config_of(noise: dict[str, Any], seed: int):
    config = self_digits.get_config()
    config.update_from_flattened_dict(
        noise | self_digits.TEACHER
        | {"loss.method": "scripts.self_rounds:kept_labels"}
        | dict.fromkeys(("seed", "noise.seed", "data.split_seed"), seed)
    )  # fmt: skip
    return config


def probabilities(run: build.Run, variables, part: str):
    examples = getattr(run.dataset, part)
    inputs = run.problem.draw(examples, np.arange(len(examples.index)), None).inputs
    return np.asarray(jax.nn.softmax(run.model.apply(variables, inputs, train=False)))


def accuracy(run: build.Run, variables, part: str) -> float:
    found = probabilities(run, variables, part).argmax(-1)
    return 100 * float((found == getattr(run.dataset, part).targets).mean())


def train_round(run: build.Run, take_step, config, number: int, kept) -> Best:
    state = step.init_state(run, config.seed + 100 * number)
    state = state._replace(loss_state=jnp.asarray(kept), seed=np.int32(config.seed))
    train, best = run.problem.stored(run.dataset.train), Best(-1, -1, None)
    for epoch in range(1, config.epochs + 1):
        where = config.seed, epoch + config.epochs * number
        size = len(train.index), config.batch_size
        order = epoch_order(*where, *size, run.layout, run.problem.order)
        for _ in range(len(order)):
            state, _ = take_step(state, train, order)
        if (validation := accuracy(run, state.average, "validation")) >= best.validation:
            test = accuracy(run, state.average, "test")
            best = Best(validation, test, jax.tree.map(np.asarray, state.average))
    return best


def rounds(noise: dict[str, Any], seed: int) -> list[Best]:
    config = config_of(noise, seed)
    run = build.build_run(config)
    take_step, train = step.make_train_step(run), run.dataset.train
    found: list[Best] = []
    average, kept = np.zeros((len(train.index), 10)), np.ones(run.num_examples, bool)
    for number in range(ROUNDS):
        found.append(train_round(run, take_step, config, number, kept))
        said = f"validation {found[-1].validation:.1f} %, test {found[-1].test:.1f} %"
        console.print(f"{noise['noise.kind']}, seed {seed}, round {number + 1}: {said}")
        if number and found[-1].validation < found[-2].validation:
            return found[:-1]
        predicted = probabilities(run, found[-1].variables, "train")
        average = DECAY * average + (1 - DECAY) * predicted
        kept[train.index] = average.argmax(-1) == train.targets
    return found


def main() -> None:
    streams.keep()
    print("| noise | first round | last round | rounds |\n|---|---|---|---|")
    for noise in self_digits.NOISE:
        runs = [rounds(noise, seed) for seed in range(SEEDS)]
        cells = [
            f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"
            for values in ([run[i].test for run in runs] for i in (0, -1))
        ]
        name = f"{noise['noise.kind']}, {noise['noise.rate']}"
        numbers = ", ".join(str(len(run)) for run in runs)
        print(f"| {name} | {' | '.join(cells)} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
