"""Several seeds of one configuration at once, on one device, under vmap.

A GPU that a small model leaves idle is filled; on CPU, where vmap makes grouped convolutions, it
loses. So both ways are measured, and the seeds go one after another where that is faster.
"""

import functools
import json
import time

import jax
import jax.numpy as jnp

from experiments import batches, checkpoint, devices, diagnostics, safety, train, workdir
from experiments.batches import epoch_order
from experiments.one_step import init_state, make_evaluate, make_train_step
from experiments.progress import console, progress_line
from experiments.results import epoch_row
from experiments.setup import Run, steps_per_epoch

STEPS = 20  # that are measured


def train_seeds(config, run: Run, path, signal=lambda: None) -> dict:
    """Trains seeds config.seed and up, each into its own directory; returns the first's result.

    Raises:
      ValueError: for more than one device, or a data set that is streamed.
    """
    number, seeds = config.vmap_seeds, range(config.seed, config.seed + config.vmap_seeds)
    host = batches.train_data(run.dataset.train, run.augment)
    if devices.size(run.layout) > 1 or not train.fits(host, config.data.device_budget_mb):
        raise ValueError("config.vmap_seeds: expected one device that holds the data set")
    paths, configs = {}, {}
    for seed in seeds:
        configs[seed] = config.copy_and_resolve_references()
        configs[seed].seed = seed
        paths[seed] = path / f"seed_{seed}"
        paths[seed].mkdir(exist_ok=True)
    (path / workdir.RESULTS).unlink(missing_ok=True)  # of fewer epochs
    workdir.write_json(path / workdir.CONFIG, config.to_dict())
    # A run that was begun goes on as it began.
    decided = path / "vmapped.json"
    if not decided.exists():
        workdir.write_json(decided, {"vmapped": pays(config, run, host)})
    if json.loads(decided.read_text())["vmapped"]:
        results = together(config, run, host, path, paths, configs, signal)
    else:
        results = {}
        for seed in seeds:
            if not is_finished(paths[seed] / workdir.RESULTS, configs[seed]):
                train.train(configs[seed], run, paths[seed], signal)
            results[seed] = json.loads((paths[seed] / workdir.RESULTS).read_text())
    workdir.write_json(path / workdir.RESULTS, {"seeds": list(seeds), "number": number})
    return results[config.seed]


def is_finished(path, config) -> bool:
    return path.exists() and json.loads(path.read_text())["config"]["epochs"] == config.epochs


def make_steps(run: Run):
    """The training step and evaluation over a leading axis of seeds; data and labels are shared."""
    step = jax.jit(jax.vmap(make_train_step(run), in_axes=(0, None, 0)), donate_argnums=0)
    return step, make_evaluate(run, over_seeds=True)


def init_states(run: Run, seeds):
    states = [init_state(run, seed) for seed in seeds]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)


def orders(config, run: Run, seeds, epoch: int, size: int):
    return jnp.stack([epoch_order(s, epoch, size, config.batch_size, run.layout) for s in seeds])


def pays(config, run: Run, host) -> bool:
    """Whether all seeds at once take less time than one after another, over a few steps."""
    seeds = range(config.seed, config.seed + config.vmap_seeds)
    resident = devices.replicate(host, run.layout)
    order = orders(config, run, seeds, 1, len(host.labels))
    cases = {
        "at once": (make_steps(run)[0], init_states(run, seeds), order),
        "one by one": (make_train_step(run), init_state(run, config.seed), order[0]),
    }
    seconds = {}
    for name, (step, state, rows) in cases.items():
        state, _ = step(state, resident, rows)
        jax.block_until_ready(state)
        start = time.perf_counter()
        for _ in range(STEPS):
            state, _ = step(state, resident, rows)
        jax.block_until_ready(state)
        seconds[name] = (time.perf_counter() - start) / STEPS
    seconds["one by one"] *= config.vmap_seeds
    chosen = min(seconds, key=lambda name: seconds[name])
    text = ", ".join(f"{name} {1e3 * value:.1f} ms" for name, value in seconds.items())
    console.print(f"seeds    a step of all {config.vmap_seeds}: {text}; going {chosen}")
    return chosen == "at once"


def together(config, run: Run, host, path, paths, configs, signal) -> dict:
    """The loop of train.py, over a leading axis of seeds."""
    seeds, size = list(paths), len(host.labels)
    train.describe(config, run)
    resident = devices.replicate(host, run.layout)
    (step, evaluate), steps = make_steps(run), steps_per_epoch(config, run.dataset)
    parts = train.held_out(run)
    saver = checkpoint.saver(path, config.checkpoint.keep)
    state, rows = begin(run, path, paths, configs)
    saved = time.monotonic()

    def stop(number):
        checkpoint.save(saver, int(state.step[0]), state, json.dumps(rows))
        checkpoint.wait(saver)
        raise safety.Stopped(number)

    with progress_line(config.epochs * steps, "compiling") as progress:
        for epoch in range(int(state.step[0]) // steps + 1, config.epochs + 1):
            order = orders(config, run, seeds, epoch, size)
            for done in range(int(state.step[0]) % steps + 1, steps + 1):
                state, failed = step(state, resident, order)
                progress((epoch - 1) * steps + done, f"epoch {epoch}/{config.epochs}")
                if (number := signal()) and done < steps:
                    stop(number)
            evaluated = {name: evaluate(state, *arrays) for name, arrays in parts.items()}
            for i, seed in enumerate(seeds):
                own = functools.partial(jax.tree.map, lambda leaf, i=i: leaf[i])
                if failed[i]:
                    train.explain(run, own(state), resident, order[i], paths[seed])
                mine = own(state)
                samples = diagnostics.samples(run.dataset.train, mine.seen, mine.loss_state)
                row = epoch_row(epoch, mine.sums, own(evaluated), mine.loss_state, samples)
                rows[i].append(row)
                if config.report.losses:
                    diagnostics.write_losses(paths[seed], epoch, samples)
                workdir.append_row(paths[seed] / workdir.METRICS, row)
            state = state._replace(sums=jnp.zeros_like(state.sums))
            if train.due(config, epoch, saved):
                checkpoint.save(saver, int(state.step[0]), state, json.dumps(rows))
                saved = time.monotonic()
            if (number := signal()) and epoch < config.epochs:
                stop(number)
    checkpoint.wait(saver)
    results = {}
    for i, seed in enumerate(seeds):
        own = jax.tree.map(lambda leaf, i=i: leaf[i], state)
        # The last bits differ from those of a single run, so that a table must not mix them.
        results[seed] = train.finish(
            configs[seed], run, rows[i], own, paths[seed], vmapped=len(seeds)
        )
    return results


def begin(run: Run, path, paths, configs):
    state = init_states(run, paths)
    rows: list[list[dict]] = [[] for _ in paths]
    restored = checkpoint.restore(path, state)
    if restored is not None:
        state, rows = devices.replicate(restored[0], run.layout), json.loads(restored[1])
        console.print(f"resume   at step {int(state.step[0])}")
    for (seed, own), done in zip(paths.items(), rows, strict=True):
        workdir.begin(own, configs[seed].to_dict(), len(done), train.lines(done))
    return state, rows
