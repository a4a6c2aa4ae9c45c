"""Runs trained at once give the same results as runs trained one by one."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import digits
from experiments.runs import files, lock
from experiments.training import build, loop, seeds
from experiments.training import step as one_step
from experiments.training.build import Member
from tests.program.running import train_one

X64 = bool(jax.config.read("jax_enable_x64"))


def config_of():
    config = digits.get_config()
    config.devices, config.epochs, config.batch_size, config.vmap_seeds = 1, 2, 256, 2
    config.optimizer.name, config.optimizer.learning_rate = "sgd", 0.1
    config.checkpoint.every_epochs = 1
    return config


@pytest.fixture(scope="module")
def run():
    return build.build_run(config_of())


@pytest.mark.x64
def test_a_step_of_all_is_a_step_of_each(run, tmp_path):
    members = []
    for seed in (3, 4):
        config = config_of()
        config.seed = seed
        (tmp_path / str(seed)).mkdir()
        members.append(Member(config, run, tmp_path / str(seed)))
    numbers = [3, 4]
    singles = [widened(one_step.init_state(run, seed)) for seed in numbers]
    wide = jax.tree.map(lambda *leaves: jnp.stack(leaves), *singles)
    count, tolerance = (20, 1e-12) if X64 else (1, 1e-6)
    run = run._replace(model=run.model.clone(dtype=jnp.float64)) if X64 else run
    at_once = loop.make_loop([one._replace(run=run) for one in members], lambda: None)
    alone = one_step.make_train_step(run)
    data, order = next(loop.epoch_steps(at_once, 0))
    for _ in range(count):
        wide, failed = at_once.train_step(wide, data, order)
    for i, state in enumerate(singles):
        for _ in range(count):
            state, _ = alone(state, data, order[i])
        assert not failed[i]
        for a, b in zip(jax.tree.leaves(wide.params), jax.tree.leaves(state.params), strict=True):
            assert abs(np.asarray(a)[i] - np.asarray(b)).max() <= tolerance


def widened(state):
    """Converts to float64 under x64."""
    return jax.tree.map(
        lambda x: x.astype(jnp.float64) if X64 and x.dtype == jnp.float32 else x, state
    )


def test_each_seed_has_its_directory(run, tmp_path):
    asked = iter([None] * 8)
    with pytest.raises(lock.Stopped):  # the run is resumed below
        seeds.train_seeds(config_of(), run, tmp_path, lambda: next(asked, 15))
    seeds.train_seeds(config_of(), run, tmp_path)
    for seed in (0, 1):
        results = json.loads((tmp_path / f"seed_{seed}" / files.RESULTS).read_text())
        assert results["config"]["seed"] == seed
        assert results["vmapped"] == 2
        rows = files.read_rows(tmp_path / f"seed_{seed}" / files.METRICS)
        assert [row["epoch"] for row in rows] == [1, 2]
        config = config_of()
        config.seed = seed
        (tmp_path / f"single_{seed}").mkdir()
        single = train_one(config, run, tmp_path / f"single_{seed}")
        for key, value in single["last_epoch"].items():
            assert results["last_epoch"][key] == pytest.approx(value, rel=1e-3), key


def test_a_changed_config_is_noticed(run, tmp_path):
    seeds.train_seeds(config_of(), run, tmp_path)
    config = config_of().to_dict()
    with pytest.raises(ValueError, match="holds a finished run"):
        files.check_unchanged(tmp_path, config, resumable=False)
    with pytest.raises(ValueError, match="seed: 0 -> 7"):
        files.check_unchanged(tmp_path, config | {"seed": 7}, resumable=False)
    more = config_of()
    more.epochs = 3
    seeds.train_seeds(more, run, tmp_path)
    for seed in (0, 1):
        assert len(files.read_rows(tmp_path / f"seed_{seed}" / files.METRICS)) == 3


def test_a_changed_config_is_noticed_in_the_midst(run, tmp_path):
    asked = iter([None] * 3)
    with pytest.raises(lock.Stopped):
        seeds.train_seeds(config_of(), run, tmp_path, lambda: next(asked, 15))
    changed = config_of()
    changed.optimizer.learning_rate = 0.2
    with pytest.raises(ValueError, match=r"learning_rate: 0\.1 -> 0\.2"):
        seeds.train_seeds(changed, build.build_run(changed), tmp_path)


def test_no_memory_for_so_many_is_one_line(tmp_path, monkeypatch):
    def full(*unused):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    monkeypatch.setattr(seeds, "train", full)
    with pytest.raises(MemoryError, match="no memory for 2 runs at once: train fewer"):
        seeds.train_all(points(tmp_path))


@pytest.mark.x64
def test_seeds_need_one_device(run, tmp_path):
    config = config_of()
    config.devices = 2
    with pytest.raises(ValueError, match=r"config\.vmap_seeds: expected one device"):
        seeds.train_seeds(config, build.build_run(config), tmp_path)


def points(root, number=2, **values):
    """Makes members like those of a sweep, each with its own noise and split."""
    members = []
    for seed in range(number):
        config = config_of()
        config.vmap_seeds = 1
        config.seed = config.noise.seed = config.data.split_seed = seed
        config.update_from_flattened_dict(values)
        (root / str(seed)).mkdir(parents=True)
        members.append(Member(config, build.build_run(config), root / str(seed)))
    return members


def results(members):
    return [json.loads((one.path / files.RESULTS).read_text()) for one in members]


def test_points_of_a_sweep_at_once(tmp_path):
    """They equal runs trained alone, also if interrupted and resumed at once or alone."""
    kinds = ("alone", "at_once", "ended", "goes_on_alone")
    alone, at_once, ended, goes_on = (points(tmp_path / kind) for kind in kinds)
    for one in alone:
        train_one(*one)
    seeds.train_all(at_once)
    for single, own in zip(results(alone), results(at_once), strict=True):
        assert own["noise"] == single["noise"]
        assert own["vmapped"] == 2
        for key, value in single["last_epoch"].items():
            assert own["last_epoch"][key] == pytest.approx(value, rel=1e-3), key
    assert results(at_once)[0]["noise"] != results(at_once)[1]["noise"]
    assert [row["epoch"] for row in files.read_rows(at_once[1].path / files.TIMING)] == [1, 2]
    for members in (ended, goes_on):
        asked = iter([None] * 8)
        with pytest.raises(lock.Stopped):
            seeds.train_all(members, lambda asked=asked: next(asked, 15))
    seeds.train_all(ended)
    assert results(ended) == results(at_once)
    for one in goes_on:
        seeds.train_all([one])
    for single, own in zip(results(alone), results(goes_on), strict=True):
        assert own["vmapped"] == 2  # trained at once for a part of it
        assert own["last_epoch"]["test_loss"] == pytest.approx(
            single["last_epoch"]["test_loss"], rel=1e-3
        )
    seeds.train_all(ended)  # does nothing, as all are done


def test_the_newest_step_that_all_have(tmp_path, capsys):
    """One run was killed before its last save, so all resume from the step before."""
    straight, killed = points(tmp_path / "straight"), points(tmp_path / "killed")
    seeds.train_all(straight)
    seeds.train_all(killed)
    folder = killed[0].path / "checkpoints"
    first, last = sorted(folder.iterdir())
    shutil.rmtree(last)
    for one in killed:
        (one.path / files.RESULTS).unlink()
    seeds.train_all(killed)
    assert results(killed) == results(straight)
    assert (folder / last.name).exists()
    # Without a common step, each run resumes from its own.
    for one, name in zip(killed, (first.name, last.name), strict=True):
        (one.path / files.RESULTS).unlink()
        shutil.rmtree(one.path / "checkpoints" / name)
    assert not seeds.go_together(killed)
    seeds.train_all(killed)
    assert results(killed)[0] == results(straight)[0]
    said = capsys.readouterr().err
    assert f"resume   at step {int(first.name)}, after 1 whole epochs" in said
    # The same holds if the common step is damaged.
    for one in killed:
        (one.path / files.RESULTS).unlink()
    for step in sorted((killed[1].path / "checkpoints").iterdir())[:-1]:
        shutil.rmtree(step)
    (folder / last.name / "manifest.json").write_text("{}")
    assert seeds.go_together(killed)
    with pytest.raises(ValueError, match="no checkpoint is whole"):
        seeds.train_all(killed)
    assert [seeds.is_finished(one) for one in killed] == [False, True]


def test_one_that_fails_stops_no_other(tmp_path, monkeypatch):
    members, good = points(tmp_path / "fails"), points(tmp_path / "good")
    seeds.train_all(good)
    resume = loop.resume

    def poisoned(members):
        state, rows = resume(members)
        params = jax.tree.map(lambda x: x.at[0].set(jnp.nan), state.params)
        return state._replace(params=params), rows

    monkeypatch.setattr(loop, "resume", poisoned)
    with pytest.raises(FloatingPointError, match="not finite"):
        seeds.train_all(members)
    assert json.loads((members[0].path / files.FAILED).read_text())["step"] == 0
    assert not (members[0].path / files.RESULTS).exists()
    assert results(members[1:]) == results(good[1:])
    assert not seeds.go_together(members)  # the failed run continues alone
    regrouped = [members[0], *good[:1]]
    assert not seeds.go_together(regrouped)


@pytest.mark.x64
def test_what_cannot_be_together(tmp_path):
    members = points(tmp_path)
    assert seeds.fit_together(members)
    imbalanced = points(tmp_path / "more", **{"data.imbalance": 20.0})
    assert not seeds.fit_together(imbalanced)  # other seeds remove other numbers of examples
    assert not seeds.go_together(imbalanced)
    assert not seeds.go_together(imbalanced)  # the decision stays
    size = members[0].run.dataset.train
    for part, expected in ((1.5, False), (2.5, True)):
        budget = part * sum(array.nbytes for array in size) / 1e6
        members[0].config.data.device_budget_mb = budget
        assert seeds.fit_together(members) == expected
