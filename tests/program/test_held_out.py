"""Methods that learn from held-out losses after each epoch: for every task, resumed, at once."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import digits, regression, semi_supervised
from experiments.runs import files, lock
from experiments.training import build, checkpoint, devices, evaluation, loop, resume
from experiments.training import step as one_step
from superloss_jax import memory
from tests.program import test_tasks, toy
from tests.program.running import train_one

REMEMBERED = {"loss.method": "remembered_superloss"}
# It memorises from the second epoch on.
SOON = {
    "noise.rate": 0.8, "optimizer.learning_rate": 0.01, "loss.lam": 10.0,
    "loss.remembered_superloss.share": 0.6,
}  # fmt: skip


def config_of(defaults=digits, **overrides):
    config = defaults.get_config()
    config.devices, config.epochs = 1, 3
    config.checkpoint.every_epochs, config.checkpoint.every_minutes = 1, 0
    config.data.validation = 100
    with config.unlocked():
        config.update_from_flattened_dict(REMEMBERED | overrides)
    return config


@pytest.fixture(scope="module")
def run():
    return build.build_run(config_of(**SOON))


@pytest.fixture(scope="module")
def straight(run, tmp_path_factory):
    """The directory of an uninterrupted run."""
    path = tmp_path_factory.mktemp("straight")
    train_one(config_of(**SOON), run, path)
    return path


def after_steps(run, number=3):
    """Returns the state after some steps, as if most of their losses had been below tau."""
    state, train = one_step.init_state(run, 0), run.problem.stored(run.dataset.train)
    size = len(train.index)
    order = run.problem.order(0, 1, size, 128)
    step = one_step.make_train_step(run)
    for _ in range(number):
        state, failed = step(state, train, order)
        assert not failed
    kinds = isinstance(state.loss_state, memory.RememberedState) and run.problem.kinds
    if kinds == 1:
        state = state._replace(loss_state=state.loss_state._replace(below=state.loss_state.seen))
    return state


def parts_of(run):
    return {"validation": run.dataset.validation, "test": run.dataset.test}


def unchanged(new, state, *names):
    """Asserts that nothing but the fields of these names has changed."""
    without = dict.fromkeys(names, ())
    chex.assert_trees_all_equal(new._replace(**without), state._replace(**without))


def test_the_memory_is_advanced_by_the_losses_of_the_validation_split(run):
    state = after_steps(run)
    images, labels, *_ = run.dataset.validation
    logits = run.model.apply({"params": state.params}, images / np.float32(16), train=False)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    expected = memory.advance(state.loss_state, losses)
    assert expected.memory > state.loss_state.memory == 0
    new, evaluated = evaluation.make_after_epoch(run)(state, parts_of(run))
    chex.assert_trees_all_close(new.loss_state, expected, atol=1e-6)
    unchanged(new, state, "loss_state", "past")
    np.testing.assert_allclose(evaluated["validation"].sums[0, 0], losses.sum(), rtol=1e-5)
    np.testing.assert_array_equal(evaluated["test"].sums[1], 500)


def test_with_averaged_weights_the_losses_are_those_of_the_current_ones(run):
    """Training losses, with which they are compared, are of the current weights as well."""
    run, state = run._replace(average=0.9), after_steps(run)
    state = state._replace(average=one_step.variables_of(one_step.init_state(run, 1)))
    images, labels, *_ = run.dataset.validation

    def losses_of(params):
        logits = run.model.apply({"params": params}, images / np.float32(16), train=False)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels)

    new, evaluated = evaluation.make_after_epoch(run)(state, parts_of(run))
    current, averaged = losses_of(state.params), losses_of(state.average["params"])
    expected = memory.advance(state.loss_state, current)
    other = memory.advance(state.loss_state, averaged)
    assert abs(expected.held_out - other.held_out) > 0.01
    chex.assert_trees_all_close(new.loss_state, expected, atol=1e-6)
    unchanged(new, state, "loss_state", "past")
    np.testing.assert_allclose(evaluated["validation"].sums[0, 0], averaged.sum(), rtol=1e-5)


def test_held_out_examples_of_several_batches_all_count(run, monkeypatch):
    state = after_steps(run)
    expected = evaluation.make_after_epoch(run)(state, parts_of(run))[0].loss_state
    monkeypatch.setattr(evaluation, "EVALUATION_BATCH", 30)  # the last one is padded
    found = evaluation.make_after_epoch(run)(state, parts_of(run))[0].loss_state
    chex.assert_trees_all_close(found, expected, atol=1e-6)
    assert found.memory > 0


def test_on_eight_devices_it_is_the_same(run):
    state = after_steps(run)
    expected = evaluation.make_after_epoch(run)(state, parts_of(run))[0].loss_state
    wide = build.build_run(config_of(**SOON, devices=8))
    whole, parts = devices.replicate((jax.device_get(state), parts_of(wide)), wide.layout)
    found = evaluation.make_after_epoch(wide)(whole, parts)[0].loss_state
    assert len(found.evidence.sharding.device_set) == 8
    chex.assert_trees_all_close(jax.device_get(found), jax.device_get(expected), atol=1e-6)


def test_other_methods_hand_back_no_losses():
    run = build.build_run(config_of(**{"loss.method": "superloss"}))
    assert run.advance is None
    state = after_steps(run)
    units = evaluation.make_evaluate(run)(state, run.dataset.validation).units
    assert units == [()]
    new, _ = evaluation.make_after_epoch(run)(state, parts_of(run))
    unchanged(new, state, "past")


# --- Every task. ----------------------------------------------------------------------------------


def test_regression():
    own = {"data.name": "friedman", "data.examples": 400}
    run = build.build_run(config_of(regression, **own))
    state = after_steps(run)
    batch = run.problem.draw(run.dataset.validation, np.arange(100), None)
    outputs = run.model.apply({"params": state.params}, batch.inputs, train=False)
    expected = memory.advance(state.loss_state, run.problem.units(outputs, batch).losses)
    new, _ = evaluation.make_after_epoch(run)(state, parts_of(run))
    chex.assert_trees_all_close(new.loss_state, expected, atol=1e-6)
    assert new.loss_state.held_out >= 0


def test_kinds_of_units_each_have_their_own():
    """Held-out examples have labels, so that pseudo-labels keep plain SuperLoss."""
    own = {"batch_size": 128, "consistency.threshold": 0.0, "noise.rate": 0.4}
    run = build.build_run(config_of(semi_supervised, **own))
    state = after_steps(run, 8)
    assert (state.loss_state.seen > 0).all()
    new, _ = evaluation.make_after_epoch(run)(state, parts_of(run))
    labelled, pseudo = (
        jax.tree.map(lambda leaf, i=i: leaf[i], (state.loss_state, new.loss_state)) for i in (0, 1)
    )
    chex.assert_trees_all_equal(*pseudo)
    assert labelled[1].seen == 0 <= labelled[1].held_out
    chex.assert_trees_all_equal(labelled[0].evidence, labelled[1].evidence)


def test_pixels_on_top_of_another_loss(monkeypatch):
    """The units have a shape and a mask of their own, and the method is the last of a chain."""
    config = test_tasks.config_of(**REMEMBERED, **{"loss.base": "cauchy"})

    def with_index(config, dataset):
        problem = toy.build(config, dataset)

        def units(outputs, batch):
            found = problem.units(outputs, batch)
            index = jnp.broadcast_to(batch.index[:, None], found.losses.shape)
            return found._replace(extra={"index": index})

        return problem._replace(units=units, extra=("index",))

    with pytest.raises(ValueError, match=r"config\.loss\.method: remembered_superloss needs index"):
        build.build_run(config)
    monkeypatch.setattr(build, "task_of", lambda config: toy.task._replace(build=with_index))
    run = build.build_run(config)
    state = after_steps(run)
    batch = run.problem.draw(run.dataset.validation, np.arange(200), None)
    outputs = run.model.apply({"params": state.params}, batch.inputs, train=False)
    losses, where, *_ = run.problem.units(outputs, batch)
    assert 0 < where.sum() < where.size
    new, _ = evaluation.make_after_epoch(run)(state, parts_of(run))
    expected = memory.advance(state.loss_state[1], losses, where)
    chex.assert_trees_all_close(new.loss_state[1], expected, atol=1e-6)


# --- Whole runs. ----------------------------------------------------------------------------------


def test_the_memory_is_recorded(straight):
    rows = files.read_rows(straight / files.METRICS)
    assert 0 < rows[-1]["memory"] <= 1
    assert 0 < rows[-1]["memory_tau"] < rows[-1]["tau"]


@pytest.mark.parametrize("calls", [25, 39])
def test_a_stopped_run_goes_on_bit_by_bit(run, straight, tmp_path, calls):
    """Stops within an epoch and at its end; an epoch asks for signals 20 times."""
    asked = iter([None] * calls)
    with pytest.raises(lock.Stopped):
        train_one(config_of(**SOON), run, tmp_path, lambda: next(asked, 15))
    train_one(config_of(**SOON), run, tmp_path)
    for name in (files.METRICS, files.RESULTS, files.SAMPLES):
        assert (tmp_path / name).read_bytes() == (straight / name).read_bytes()
    template = one_step.init_state(run, 0)
    first, second = (
        checkpoint.newest_common([path / checkpoint.FOLDER], [template])[0][0]
        for path in (tmp_path, straight)
    )
    chex.assert_trees_all_equal(first.loss_state, second.loss_state)
    assert first.loss_state.memory > 0


@pytest.mark.parametrize("own_data", [False, True])
def test_seeds_at_once_are_each_alone(run, straight, tmp_path, own_data):
    """As several seeds on the same data, or as points of a sweep, each with its own noise."""
    members, alone = [], [files.read_rows(straight / files.METRICS)[-1]]
    for seed in (0, 1):
        config = config_of(**SOON, seed=seed, **{"noise.seed": seed if own_data else 0})
        own = build.build_run(config) if own_data else run
        (tmp_path / str(seed)).mkdir()
        members.append(build.Member(config, own, tmp_path / str(seed)))
    together = loop.train(members)
    (tmp_path / "alone").mkdir()
    alone.append(train_one(*members[1][:2], tmp_path / "alone")["last_epoch"])
    for one, found in zip(alone, together, strict=True):
        for key in ("memory", "memory_tau", "train_loss", "test_loss"):
            assert found["last_epoch"][key] == pytest.approx(one[key], rel=0.02, abs=0.02), key
    assert alone[0]["memory"] != alone[1]["memory"]


def test_a_memory_that_no_run_can_have_is_passed_over(run, straight, tmp_path, capsys):
    """A checkpoint is a file, and may be anybody's."""
    template = one_step.init_state(run, 0)
    [(state, rows)] = checkpoint.newest_common([straight / checkpoint.FOLDER], [template])
    forged = state.loss_state._replace(memory=np.float32(1.5))
    saver = checkpoint.saver(tmp_path, 2)
    for name in (files.CONFIG, files.METRICS):
        (tmp_path / name).write_bytes((straight / name).read_bytes())
    checkpoint.save(saver, int(state.step), state._replace(loss_state=forged), rows)
    checkpoint.wait(saver)
    with pytest.raises(ValueError, match="no checkpoint is whole; delete it to start anew"):
        resume.resume([build.Member(config_of(**SOON), run, tmp_path)])
    said = " ".join(capsys.readouterr().err.split())
    assert "memory of remembered_superloss: expected a number in [0, 1], got 1.5" in said


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"data.validation": 0}, r"config\.data\.validation: remembered_superloss needs losses of "
         "held-out examples: expected an integer >= 1, got 0"),
        ({"data.validation_labels": "clean"}, r"config\.data\.validation_labels: .* as noisy as "
         "the training ones: expected noisy, got clean"),
        ({"augment.mixup": 1.0}, "config.augment.mixup: a mixture has a loss alone"),
        ({"loss.remembered_superloss.share": 1.5},
         r"config\.loss\.remembered_superloss: share: expected a number in \[0, 1\], got 1.5"),
        ({"loss.lam": 0.0}, r"config\.loss\.lam: expected"),
        ({"loss.decay": 1.0}, r"config\.loss\.decay: expected a number in \[0, 1\)"),
        ({"loss.base": "remembered_superloss"}, r"config\.loss\.base: expected one of plain"),
    ],
)  # fmt: skip
def test_mistakes(overrides, message):
    with pytest.raises(ValueError, match=message) as error:
        build.build_run(config_of(**overrides))
    assert "\n" not in str(error.value)


def test_clean_held_out_labels_are_allowed_where_training_labels_are_clean():
    for method in ("remembered_superloss", "superloss"):
        rate = 0.0 if method == "remembered_superloss" else 0.4
        own = {"loss.method": method, "noise.rate": rate, "data.validation_labels": "clean"}
        build.build_run(config_of(**own))
