"""Curricula known beforehand: who takes part when, and in what order."""

import csv
import types

import jax
import numpy as np
import pytest

from configs import digits
from experiments.runs import contents
from experiments.tasks.base import shuffled
from experiments.training import build, curriculum

EPOCHS = 10


def own(**given):
    known = {"pacing": "linear", "start": 0.2, "end": 0.5, "steps": 4}
    config = digits.get_config().curriculum
    config.update(known | given)
    return config


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [0.2, 0.36, 0.52, 0.68, 0.84, 1]),
        ({"pacing": "root"}, [(0.04 + 0.96 * i / 5) ** 0.5 for i in range(6)]),
        ({"pacing": "exponential", "start": 0.0625, "end": 0.4}, [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1]),
        ({"pacing": "baby_steps", "steps": 2, "end": 0.4}, [0.2, 0.2, 0.6, 0.6, 1]),
        ({"pacing": "single_step", "end": 0.3}, [0.2, 0.2, 0.2, 1]),
        ({"end": 1.0}, [0.2 + 0.8 * i / 9 for i in range(10)]),  # the last epoch has all
    ],
)
def test_pacing(given, expected):
    shares = curriculum.shares(own(**given), EPOCHS)
    np.testing.assert_allclose(shares, expected + [1] * (EPOCHS - len(expected)), rtol=1e-12)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"end": 1.5}, r"config\.curriculum\.end: expected a number .* to 1, got 1\.5"),
        ({"start": 0.0}, r"config\.curriculum\.start: expected"),
        ({"pacing": "liner"}, r"config\.curriculum\.pacing: .*did you mean linear"),
    ],
)
def test_a_pacing_that_never_lets_all_in_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        curriculum.shares(own(**given), EPOCHS)


def test_the_easiest_of_each_class_come_first():
    generator = np.random.default_rng(0)
    hard, groups = generator.random(50), generator.integers(0, 3, 50)
    share = curriculum.shares(own(), EPOCHS)
    entry = curriculum.entries(hard, share, groups)
    for epoch in range(1, EPOCHS + 1):
        for group in range(3):
            members = np.flatnonzero(groups == group)
            number = int(np.ceil(share[epoch - 1] * len(members) - 1e-9))
            easiest = set(members[np.argsort(hard[members])][:number])
            assert easiest == set(members[entry[members] <= epoch])
    entry = curriculum.entries(np.zeros(5), np.array([0.4, 1.0]), np.zeros(5))
    assert entry.tolist() == [1, 1, 2, 2, 2]


def test_an_epochs_order():
    entry = np.array([1, 2, 1, 3, 1, 2, 1], np.int32)
    order = curriculum.order_of(entry)
    for epoch in (1, 2, 3, 4):
        rows = np.asarray(order(3, epoch, 7, 4))
        assert rows.shape == (2, 4)
        assert rows.ravel()[7] == -1
        counts = np.bincount(rows.ravel()[:7], minlength=7)
        there = entry <= epoch
        assert (counts[~there] == 0).all()
        assert counts[there].min() >= 7 // there.sum()
        assert counts[there].max() <= -(-7 // there.sum())
        traced = jax.jit(order, static_argnums=(2, 3))(3, epoch, 7, 4)
        np.testing.assert_array_equal(traced, rows)
    np.testing.assert_array_equal(order(3, 3, 7, 4), shuffled(3, 3, 7, 4))  # with all, as without


def written(path, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([("index", "difficulty"), *rows])
    return str(path)


def test_a_run_follows_a_file(tmp_path):
    config = digits.get_config()
    config.data.validation = 200
    hard = np.random.default_rng(0).random(1297)
    config.curriculum.difficulty = written(tmp_path / "all.csv", enumerate(hard.tolist()))
    config.curriculum.balanced = False
    run = build.build_run(config)
    train = run.dataset.train.index
    first = np.asarray(run.problem.order(0, 1, len(train), 64)).ravel()
    assert set(first[first >= 0]) == set(np.argsort(hard[train])[: int(np.ceil(0.2 * len(train)))])
    config.curriculum.hardest_first = True
    rows = np.asarray(build.build_run(config).problem.order(0, 1, len(train), 64)).ravel()
    assert hard[train[rows[rows >= 0]]].min() > 0.75


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(i, 0.5) for i in range(1000)], r"expected all 1297 training examples, got none for 297"),
        ([(i, 0.5) for i in range(1797)], r"expected indices up to 1296, got 1796"),
        ([(0, "nan")], r"expected a finite number for each index, once"),
        ([(0, 1.0), (0, 2.0)], r"expected a finite number for each index, once"),
        ([(0, "hard")], r"expected CSV with the columns index and difficulty"),
    ],
    ids=["short", "long", "nan", "twice", "word"],
)
def test_files_that_do_not_fit(tmp_path, rows, message):
    config = digits.get_config()
    config.curriculum.difficulty = written(tmp_path / "file.csv", rows)
    with pytest.raises(ValueError, match=rf"curriculum\.difficulty: .*file\.csv: {message}"):
        build.build_run(config)


def test_a_teacher_for_each_seed(tmp_path):
    config = digits.get_config()
    config.curriculum.difficulty = f"{tmp_path}/{{noise.rate}}_{{seed}}.csv"
    assert contents.difficulty(config) == tmp_path / "0.4_0.csv"
    config.curriculum.difficulty = "{sed}"
    with pytest.raises(ValueError, match="this run reads no key 'sed'"):
        contents.difficulty(config)


def test_a_teacher_of_another_data_set(tmp_path):
    (tmp_path / "config.json").write_text('{"data": {"name": "cifar10"}}')
    rows = {"index": np.arange(1297), "wrong": np.zeros(1297), "mean_loss": np.ones(1297)}
    np.savez(tmp_path / "samples.npz", **rows)
    config = digits.get_config()
    config.curriculum.difficulty = str(tmp_path)
    with pytest.raises(ValueError, match="was trained on cifar10: expected digits"):
        build.build_run(config)
    (tmp_path / "config.json").write_text('{"data": {"name": "digits"}}')
    assert build.build_run(config).problem.order is not shuffled


def test_what_cannot_have_a_curriculum(tmp_path):
    config = digits.get_config()
    config.curriculum.difficulty = str(tmp_path / "none.csv")
    with pytest.raises(ValueError, match=r"none\.csv: No such file"):
        build.build_run(config)
    problem = types.SimpleNamespace(order=lambda *args: None)
    config.task = "retrieval"
    with pytest.raises(ValueError, match="retrieval draws batches of its own"):
        curriculum.paced(config, None, problem)
