"""Seeds trained at once are the seeds trained one by one."""

import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import digits
from experiments import batches, devices, one_step, safety, seeds, setup, train, workdir

X64 = bool(jax.config.read("jax_enable_x64"))


def config_of():
    config = digits.get_config()
    config.devices, config.epochs, config.batch_size, config.vmap_seeds = 1, 2, 256, 2
    config.optimizer.name, config.optimizer.learning_rate = "sgd", 0.1
    config.checkpoint.every_epochs = 1
    return config


@pytest.fixture(scope="module")
def run():
    return setup.build(config_of())


def test_a_step_of_all_is_a_step_of_each(run):
    config, numbers = config_of(), [3, 4]
    data = devices.replicate(batches.train_data(run.dataset.train, run.augment), run.layout)
    order = seeds.orders(config, run, numbers, 1, len(data.labels))
    wide = jax.tree.map(lambda x: x.astype(jnp.float64) if X64 and x.dtype == jnp.float32 else x,
                        seeds.init_states(run, numbers))  # fmt: skip
    singles = [jax.tree.map(lambda x, i=i: x[i].copy(), wide) for i in range(2)]
    count, tolerance = (20, 1e-12) if X64 else (1, 1e-6)
    run = run._replace(model=run.model.clone(dtype=jnp.float64)) if X64 else run
    together, alone = seeds.make_steps(run)[0], one_step.make_train_step(run)
    for _ in range(count):
        wide, failed = together(wide, data, order)
    for i, state in enumerate(singles):
        for _ in range(count):
            state, _ = alone(state, data, order[i])
        assert not failed[i]
        for a, b in zip(jax.tree.leaves(wide.params), jax.tree.leaves(state.params), strict=True):
            assert abs(np.asarray(a)[i] - np.asarray(b)).max() <= tolerance


@pytest.mark.parametrize("vmapped", [True, False])
def test_each_seed_has_its_directory(run, tmp_path, vmapped, monkeypatch):
    monkeypatch.setattr(seeds, "pays", lambda *unused: vmapped)
    asked = iter([None] * 8)
    with pytest.raises(safety.Stopped):  # and is resumed
        seeds.train_seeds(config_of(), run, tmp_path, lambda: next(asked, 15))
    seeds.train_seeds(config_of(), run, tmp_path)
    for seed in (0, 1):
        results = json.loads((tmp_path / f"seed_{seed}" / workdir.RESULTS).read_text())
        assert results["config"]["seed"] == seed
        assert results.get("vmapped") == (2 if vmapped else None)
        rows = workdir.read_rows(tmp_path / f"seed_{seed}" / workdir.METRICS)
        assert [row["epoch"] for row in rows] == [1, 2]
        config = config_of()
        config.seed = seed
        (tmp_path / f"single_{seed}").mkdir()
        single = train.train(config, run, tmp_path / f"single_{seed}")
        for key, value in single["last_epoch"].items():
            assert results["last_epoch"][key] == pytest.approx(value, rel=1e-3), key


def test_a_changed_config_is_noticed(run, tmp_path, monkeypatch):
    monkeypatch.setattr(seeds, "pays", lambda *unused: False)
    seeds.train_seeds(config_of(), run, tmp_path)
    config = config_of().to_dict()
    with pytest.raises(ValueError, match="holds a finished run"):
        workdir.check_config(tmp_path, config, resumable=False)
    with pytest.raises(ValueError, match="seed: 0 -> 7"):
        workdir.check_config(tmp_path, config | {"seed": 7}, resumable=False)
    more = config_of()
    more.epochs = 3
    seeds.train_seeds(more, run, tmp_path)
    for seed in (0, 1):
        assert len(workdir.read_rows(tmp_path / f"seed_{seed}" / workdir.METRICS)) == 3


def test_what_is_faster_is_measured(run, monkeypatch):
    """The clock decides: here it says that a step of all takes a tenth, then ten times, of one."""
    host = batches.train_data(run.dataset.train, run.augment)
    for factor, expected in ((0.1, True), (10, False)):
        ticks = iter([0, factor, 0, 1])
        clock = types.SimpleNamespace(perf_counter=ticks.__next__)
        monkeypatch.setattr(seeds, "time", clock)
        assert seeds.pays(config_of(), run, host) == expected


def test_seeds_need_one_device(run, tmp_path):
    config = config_of()
    config.devices = 2
    with pytest.raises(ValueError, match=r"config\.vmap_seeds: expected one device"):
        seeds.train_seeds(config, setup.build(config), tmp_path)
