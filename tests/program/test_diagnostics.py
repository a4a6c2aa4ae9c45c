"""Per-example records of a run: recording, ranking, listing suspects, excluding examples."""

import argparse
import csv
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import digits
from experiments.report import detectors
from experiments.runs import contents, files, identity, samples
from experiments.tasks import classification
from experiments.training import build, evaluation, methods, record, superlosses
from experiments.training import step as one_step
from experiments.training.order import epoch_order
from superloss_jax import closed_form
from tests.program.running import train_one
from tests.program.test_main import ROOT


def config_of(**overrides):
    config = digits.get_config()
    config.devices, config.epochs, config.checkpoint.every_minutes = 1, 2, 0
    config.update_from_flattened_dict(overrides)
    return config


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("finished")
    config = config_of()
    train_one(config, build.build_run(config), path)
    return path


def rows_of(seed, number=60):
    rng = np.random.default_rng(seed)
    clean = rng.integers(0, 3, number)
    label = np.where(rng.random(number) < 0.4, (clean + 1) % 3, clean)
    weight = rng.integers(0, 4, number) / 3 + (label == clean)  # with many ties
    return {
        "index": np.arange(number), "target": label, "clean_target": clean, "predicted": clean,
        "wrong": (label != clean).astype(np.int8), "loss": rng.random(number), "weight": weight,
    }  # fmt: skip


def test_auroc_is_the_share_of_pairs_in_order_with_ties_counted_half():
    rows = rows_of(0)
    wrong = rows["target"] != rows["clean_target"]
    for name, score in (("weight", -rows["weight"]), ("loss", rows["loss"])):
        above = score[wrong][:, None] - score[~wrong][None]
        share = (above > 0).mean() + 0.5 * (above == 0).mean()
        np.testing.assert_allclose(samples.areas(rows)[f"auroc_{name}"], share)
        assert samples.detectors(rows)[name]["auroc"] == pytest.approx(share)


def test_precision_at_the_rate_counts_the_first():
    rows = rows_of(1)
    wrong = rows["target"] != rows["clean_target"]
    by_hand = sorted(range(len(wrong)), key=lambda i: (rows["weight"][i], -rows["loss"][i]))
    assert samples.order(rows).tolist() == by_hand
    found = samples.detectors(rows)["weight"]["precision_at_rate"]
    assert found == pytest.approx(wrong[by_hand[: wrong.sum()]].mean())


def test_nothing_is_said_where_nothing_is_known():
    rows = rows_of(2)
    assert samples.areas(rows | {"wrong": np.full(60, -1)}) == {}
    assert samples.detectors(rows | {"wrong": np.zeros(60)}) == {}
    without = rows | {"weight": np.full(60, np.nan)}
    assert set(samples.areas(without)) == {"auroc_loss"}
    assert samples.order(without).tolist() == np.argsort(-rows["loss"]).tolist()


def test_the_last_epoch_s_losses_and_weights_are_recorded():
    config = config_of()
    run = build.build_run(config)
    host = run.problem.stored(run.dataset.train)
    state, step = one_step.init_state(run, 0), one_step.make_train_step(run)
    order = epoch_order(0, 1, len(host.targets), config.batch_size)[:1]
    before = state.params
    before = jax.tree.map(jnp.copy, before)
    state, _ = step(state, host, order)
    first = np.asarray(order[0])
    images = run.dataset.train.inputs[first] / np.float32(16)
    logits = run.model.apply({"params": before}, images, train=True)
    expected = classification.cross_entropy(logits, run.dataset.train.targets[first])
    rows = record.samples_of(run, state)
    np.testing.assert_allclose(rows["loss"][first], expected, rtol=1e-5)
    assert (rows["predicted"][first] == logits.argmax(-1)).all()
    others = np.setdiff1d(np.arange(len(host.targets)), first)
    assert np.isnan(rows["weight"][others]).all()
    _, sigma = closed_form(expected, expected.mean(), config.loss.lam)
    np.testing.assert_allclose(rows["weight"][first], sigma, rtol=1e-4)
    # The second visit tells how many predictions changed, of all, clean and wrong examples.
    state, _ = step(state, host, order)
    changed = record.samples_of(run, state)["predicted"] != rows["predicted"]
    wrong = np.asarray(host.targets != host.clean_targets)[first]
    masks = np.array([wrong | True, ~wrong, wrong])
    assert 0 < changed[first].sum() < len(first)
    expected_sums = [(masks & changed[first]).sum(axis=1), masks.sum(axis=1)]
    np.testing.assert_array_equal(state.sums[:, :, -1], expected_sums)


def test_a_run_s_file_and_metrics_agree(finished):
    rows = samples.read_samples(finished)
    last = files.read_rows(finished / files.METRICS)[-1]
    wrong = samples.known_wrong(rows)
    assert last["sigma_wrong"] == pytest.approx(rows["weight"][wrong].mean(), rel=1e-4)
    assert last["loss_clean"] == pytest.approx(rows["loss"][~wrong].mean(), rel=1e-4)
    assert last["auroc_weight"] == pytest.approx(samples.areas(rows)["auroc_weight"])
    assert last["auroc_weight"] > 0.9  # SuperLoss finds wrong digits


def test_suspects_are_listed_and_drawn(finished):
    command = [sys.executable, "-m", "experiments.report", "suspects", "--number=50"]
    said = subprocess.run(
        [*command, f"--workdir={finished}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    with open(finished / "suspects.csv") as file:
        listed = list(csv.DictReader(file))
    rows = samples.read_samples(finished)
    assert [int(row["index"]) for row in listed] == rows["index"][samples.order(rows)[:50]].tolist()
    assert (finished / "suspects.png").stat().st_size > 10_000
    assert "of these 50, " in said.stdout
    missing = subprocess.run(
        [*command, "--workdir=/no/such"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert missing.returncode == 2
    assert missing.stderr.startswith("error: --workdir: expected a finished run")
    assert missing.stderr.count("\n") == 1


def test_detectors_pool_seeds_and_nothing_else(tmp_path, capsys):
    def write(name, auroc, numpy="2.0", **changes):
        config = config_of(**changes)
        path = tmp_path / name
        path.mkdir()
        scores = {"auroc": auroc, "average_precision": auroc / 2, "precision_at_rate": auroc / 4}
        files.write_json(path / files.RESULTS, {
            "config": config.to_dict(), "versions": {"jax": "1", "numpy": numpy}, "devices": 1,
            "platform": "cpu", "x64": False, "detectors": {"loss": scores, "weight": scores},
            "noise": {"convention": "x", "realised_rate": 0.4},
        })  # fmt: skip
        rows = [{"auroc_loss": auroc / (2 - epoch)} for epoch in range(2)]
        (path / files.METRICS).write_text("".join(map(files.line, rows)))

    def report(*rows):
        args = (str(tmp_path), str(tmp_path / "picture.png"), *rows)
        names = ("workdir", "output", "rows")
        detectors.detectors(argparse.Namespace(**dict(zip(names, (*args, None)[:3], strict=True))))
        return capsys.readouterr().out

    for seed, auroc in enumerate((0.6, 0.8)):
        write(f"a{seed}", auroc, seed=seed)
        write(f"b{seed}", 0.9, seed=seed, **{"loss.lam": 0.25, "loss.threshold": "constant"})
    said = report()
    assert "| 2 | loss, largest first | 0.700 ± 0.141 | 0.350 ± 0.071 | 0.175 ± 0.035 |" in said
    assert "| superloss, lam 0.25, threshold constant | 2 |" in said
    assert report("superloss, lam 0.25, threshold constant").endswith("picture.png\n")
    with pytest.raises(ValueError, match=r"--rows: expected some of .*; got 'suprloss'"):
        report("suprloss")
    write("c", 0.9, numpy="2.1", seed=3)
    with pytest.raises(ValueError, match=r"numpy 2\.0 / numpy 2\.1 in those of superloss"):
        report()


def test_suspects_can_be_left_out(finished, tmp_path):
    overrides = {"data.exclude": str(finished), "data.exclude_rate": 0.25}
    kept = build.build_run(config_of(**overrides)).dataset.train
    rows = samples.read_samples(finished)
    gone = set(rows["index"]) - set(kept.index)
    assert gone == set(rows["index"][samples.order(rows)[: round(0.25 * 1297)]])
    with pytest.raises(ValueError, match="trained on another target set"):
        build.build_run(config_of(**overrides, **{"noise.seed": 5}))
    with pytest.raises(ValueError, match=r"config\.data\.exclude: expected a finished run"):
        build.build_run(config_of(**overrides | {"data.exclude": "/no/such"}))
    # What the other run trusts is part of the config, and so of the hash.
    hashes = set()
    for weight in (0.0, 1.0):
        copy = tmp_path / "other"
        shutil.copytree(finished, copy, dirs_exist_ok=True)
        samples.write(copy, rows | {"weight": rows["weight"] + weight})
        config = config_of(**overrides | {"data.exclude": str(copy)})
        contents.note(config)
        hashes.add(identity.config_sha256(config.to_dict()))
    assert len(hashes) == 2
    old = {name: values for name, values in rows.items() if name != "wrong"}
    samples.write(copy, old)
    with pytest.raises(ValueError, match="of an older version"):
        samples.read_samples(copy)
    for half in ({"data.exclude": str(finished)}, {"data.exclude_rate": 0.1}):
        with pytest.raises(ValueError, match=r"config\.data\.exclude"):
            build.build_run(config_of(**half))


def test_a_run_does_not_go_on_with_other_examples(tmp_path):
    train_set = build.build_run(config_of()).dataset.train
    samples.check_examples(tmp_path, train_set, resumed=False)
    samples.check_examples(tmp_path, train_set, resumed=True)
    with pytest.raises(ValueError, match="holds a run on other examples"):
        samples.check_examples(tmp_path, train_set.rows(slice(1, None)), resumed=True)


def test_every_method_trains_through_the_program():
    """A traced step with the method's config section keeps the state's shapes and dtypes."""
    for name in methods.METHODS.keys() - {*methods.FROM_FILE}:  # those: test_mentornet.py
        held_out = 100 if name in superlosses.ADVANCES else 0
        config = config_of(**{"loss.method": name, "batch_size": 256, "data.validation": held_out})
        run = build.build_run(config)
        state = jax.eval_shape(lambda run=run: one_step.initial(run, np.int32(0)))
        host = run.problem.stored(run.dataset.train)
        order = jax.ShapeDtypeStruct((6, 256), jnp.int32)
        after, _ = jax.eval_shape(one_step.make_train_step(run), state, host, order)
        assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(
            lambda x: (x.shape, x.dtype), state
        ), name


def step_of(**overrides):
    run = build.build_run(config_of(**{"optimizer.name": "sgd"}, **overrides))
    data = run.problem.stored(run.dataset.train)
    order = epoch_order(0, 1, len(data.index), 64)
    return one_step.make_train_step(run)(one_step.init_state(run, 0), data, order)[0]


def test_superloss_has_the_base_below_it():
    plain, on_gce = (
        step_of(**{"loss.base": base}) for base in ("cross_entropy", "generalized_cross_entropy")
    )
    assert record.tau(on_gce.loss_state) < record.tau(plain.loss_state)
    assert not np.allclose(plain.params["Dense_2"]["bias"], on_gce.params["Dense_2"]["bias"])
    for method in ("data_parameters", "active_passive"):
        with pytest.raises(ValueError, match=f"{method} works on logits"):
            build.build_run(
                config_of(**{"loss.method": method, "loss.base": "generalized_cross_entropy"})
            )


def test_what_is_no_example_or_no_weight_is_not_recorded():
    mixed = step_of(**{"augment.mixup": 1.0})
    assert (mixed.seen["loss"] == one_step.UNKNOWN).all()
    focal = step_of(**{"loss.method": "focal"})  # its weight rises with the loss
    assert (focal.seen["weight"] == one_step.UNKNOWN).all()
    rows = record.samples_of(build.build_run(config_of()), focal)
    assert np.isnan(rows["weight"]).all()
    assert np.isfinite(np.asarray(focal.seen["loss"])).sum() == 64
    recorded = step_of(**{"loss.method": "loss_memory", "loss.base": "generalized_cross_entropy"})
    run = build.build_run(config_of())
    rows = record.samples_of(run, recorded)
    seen = np.isfinite(rows["loss"])
    # O2U records the losses that the base loss returns: (1 - exp(-q l)) / q.
    expected = -np.expm1(-0.7 * rows["loss"][seen]) / 0.7
    np.testing.assert_allclose(rows["mean_loss"][seen], expected, rtol=1e-5)


@pytest.mark.parametrize("method", ["superloss", "focal", "co_teaching"])
def test_training_holds_no_nan_that_would_stop_who_debugs_them(method):
    with jax.debug_nans(True):
        state = step_of(**{"loss.method": method})
    assert not state.failed


def test_lengths_and_thresholds_that_cannot_be_meant():
    for key, value in (
        ("truncated_gce.start", 40.0), ("mentornet.burn_in", 19.0), ("co_teaching.warmup", 10.0),
        ("self_paced.threshold", -1.0), ("self_paced.growth", 0.0),
        ("mentornet.second", -1.0), ("early_learning.beta", 1.0), ("jocor.forget_rate", -0.5),
    ):  # fmt: skip
        method, name = key.split(".")
        with pytest.raises(ValueError, match=rf"config\.loss.*{name}.*got"):
            build.build_run(config_of(**{"loss.method": method, f"loss.{key}": value}))


def test_two_networks_learn_apart():
    config = config_of(**{"loss.method": "co_teaching", "optimizer.name": "sgd"})
    run = build.build_run(config)
    state = one_step.init_state(run, 0)
    params = jax.tree.map(np.asarray, state.params)
    assert set(params) == {"network_0", "network_1"}
    images = run.dataset.test.inputs[:7] / np.float32(16)
    single = build.build_run(config_of()).model
    both = run.model.apply({"params": params}, images, train=False)
    for i, logits in enumerate(both):
        own = {"params": params[f"network_{i}"]}
        np.testing.assert_allclose(logits, single.apply(own, images, train=False), rtol=1e-5)
    assert not np.allclose(both[0], both[1])
    evaluated = evaluation.make_evaluate(run)(state, run.dataset.test).sums
    alone = [
        evaluation.make_evaluate(run._replace(model=single, networks=1))(
            state._replace(params=params[f"network_{i}"]), run.dataset.test
        ).sums
        for i in (0, 1)
    ]
    np.testing.assert_allclose(evaluated, (alone[0] + alone[1]) / 2, rtol=1e-5)
