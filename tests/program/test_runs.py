"""Finished runs in reports: rows, columns, averages, and the selected epoch."""

import json

import numpy as np
import pytest

from configs import digits
from experiments.report import runs, tuning
from experiments.report.rows import row_names
from experiments.runs import files, selection
from experiments.tasks.scores import ACCURACY

VERSIONS = {"versions": {"jax": "1"}, "devices": 1, "platform": "cpu", "x64": False}


GCE = "generalized_cross_entropy"


def config_of(**changes):
    config = digits.get_config()
    config.update_from_flattened_dict(changes)
    return config.to_dict()


def write(root, name, **results):
    path = root / name
    path.mkdir(parents=True)
    (path / files.RESULTS).write_text(json.dumps(VERSIONS | results))
    return path


def rows(configs):
    return [row for row, _ in row_names(configs)]


def test_rows_pool_nothing_but_seeds():
    configs = [
        config_of(**{"seed": s, "noise.seed": s, "noise.rate": 0.1 * s, "data.split_seed": s})
        for s in range(4)
    ]
    configs += [config_of(**{"loss.decay": 0.5}), config_of(**{"optimizer.learning_rate": 0.1})]
    configs += [config_of(**{"checkpoint.keep": 4, "report.losses": True})]
    assert rows(configs) == ["superloss"] * 4 + [
        "superloss, decay 0.5", "superloss, learning_rate 0.1", "superloss",
    ]  # fmt: skip


def test_a_value_that_is_not_that_of_most_is_named_and_what_older_runs_lack_is_not():
    half = [config_of(**{"loss.lam": lam}) for lam in (0.25, 1.0)]
    assert rows(half) == ["superloss, lam 0.25", "superloss, lam 1.0"]
    older = [config_of() for _ in range(3)]
    for config in older[:2]:
        del config["augment"]["mixup"], config["loss"][GCE]
    assert rows(older) == ["superloss"] * 3


def test_names_are_as_long_as_they_need_to_be():
    changes = [
        {},
        {},
        {"loss.lam": 2.0},
        {"loss.method": "early_learning", "loss.early_learning.lam": 2.0},
    ]
    found = rows([config_of(**one) for one in changes])
    assert found[2:] == ["superloss, loss.lam 2.0", "early_learning"]


def test_a_method_of_one_row_has_its_name_and_the_caption_its_settings(tmp_path):
    noise = {"realised_rate": 0.4, "convention": "symmetric"}
    chosen = {
        "superloss": {"loss.lam": 0.25},
        GCE: {f"loss.{GCE}.q": 0.2},
        "cross_entropy": {},
    }
    for method, settings in chosen.items():
        for seed in (0, 1):
            config = config_of(**{"loss.method": method, "seed": seed}, **settings)
            write(tmp_path, f"{method}-{seed}", config=config, noise=noise)
    found = runs.finished_runs(tmp_path)
    assert {run.row for run in found} == chosen.keys()
    assert runs.caption(found).endswith(
        f" Some settings are unlike most runs': {GCE} with q 0.2; superloss with lam 0.25."
    )
    config = config_of(
        **{
            "loss.method": GCE,
            "seed": 0,
            f"loss.{GCE}.q": 0.7,
        }
    )
    write(tmp_path, "another", config=config, noise=noise)
    found = runs.finished_runs(tmp_path)
    assert {run.row for run in found} == {
        "superloss",
        GCE,
        f"{GCE}, q 0.2",
        "cross_entropy",
    }
    assert runs.caption(found).endswith(
        " Some settings are unlike most runs': superloss with lam 0.25."
    )
    # A setting of all methods is listed with most runs' value; one that a method ignores is not.
    both = {"loss.method": "cross_entropy", "loss.lam": 4.0, "optimizer.learning_rate": 0.5}
    configs = [
        config_of(**both),
        *(config_of(**{"loss.method": "early_learning"}) for _ in range(2)),
    ]
    assert row_names(configs)[0] == ("cross_entropy", "learning_rate 0.5 (most: 0.001)")


def test_columns_are_headed_by_what_tells_them_apart():
    def headings(*changes):
        columns = [runs.condition(config_of(**one)) for one in changes]
        return [runs.heading(column, columns) for column in columns]

    assert headings({"noise.rate": 0.0}, {"noise.rate": 0.4}) == ["noise 0", "noise 0.4"]
    assert headings({}) == ["noise 0.4"]
    without = [{"noise.rate": 0.0, "noise.kind": kind} for kind in ("pairflip", "asymmetric")]
    assert runs.condition(config_of(**without[0])) == runs.condition(config_of(**without[1]))
    kinds = [{"noise.kind": kind} for kind in ("symmetric_inclusive", "pairflip")]
    assert headings(*kinds) == ["symmetric_inclusive, noise 0.4", "pairflip, noise 0.4"]
    rates = [{"noise.rate": r, "data.imbalance": i} for r, i in ((0.4, 1.0), (0.0, 50.0))]
    assert headings(*rates) == ["noise 0.4", "imbalance 50"]
    both = [{"noise.rate": 0.0}, *rates]  # as in CurBench
    assert headings(*both) == ["noise 0", "noise 0.4", "imbalance 50"]
    models = [{"model.name": name} for name in ("mlp", "lenet")]
    assert headings(*models) == ["mlp, noise 0.4", "lenet, noise 0.4"]
    given = {"data.name": "cifar10n", "noise.kind": "given", "noise.rate": 0.0}
    assert headings(given | {"data.variant": "worse"}) == [""]
    assert headings(given | {"noise.rate": 0.4}) == [""]  # which is not read
    assert headings(given, {"noise.rate": 0.4, "data.name": "cifar10n"}) == [
        "noise given", "noise 0.4",
    ]  # fmt: skip
    variants = [given | {"data.variant": name} for name in ("aggre", "worse")]
    assert headings(*variants) == ["aggre", "worse"]


def test_wrong_targets_are_never_called_noise_0(tmp_path):
    """Instance-dependent noise once drew wrong labels at a rate of 0."""
    changes = {"noise.kind": "instance_dependent", "noise.rate": 0.0}
    wrong = {"convention": "instance_dependent", "realised_rate": 0.088, "labels_sha256": ""}
    write(tmp_path, "a", config=config_of(**changes), noise=wrong)
    write(tmp_path, "b", config=config_of(**changes), noise=wrong | {"realised_rate": 0.0})
    write(tmp_path, "c", config=config_of(), noise=wrong | {"realised_rate": 0.4})
    found = runs.finished_runs(tmp_path)
    columns = [run.column for run in found]
    of = {run.path.name: runs.heading(run.column, columns) for run in found}
    assert of == {"a": "instance_dependent", "b": "noise 0", "c": "noise 0.4"}


def test_runs_are_read_once_and_copies_are_no_further_seeds(tmp_path):
    with pytest.raises(ValueError, match="no finished run"):
        runs.finished_runs(tmp_path)
    for name, seed in (("b", 1), ("a", 0), ("copy", 1)):
        write(tmp_path, name, config=config_of(seed=seed))
    write(tmp_path, "several_seeds", seeds=[0, 1])  # a vmapped run's own file has no config
    found = runs.finished_runs(tmp_path)
    assert [run.path.name for run in found] == ["a", "b"]
    assert [run.seeds for run in found] == [(0, 0, 0, 0), (1, 0, 0, 0)]
    newer = {"versions": {"jax": "2"}}
    write(tmp_path, "newer", config=config_of(seed=1), **newer)
    assert len(runs.finished_runs(tmp_path)) == 3  # no copy, as versions differ
    assert len({runs.made_with(run.results) for run in runs.finished_runs(tmp_path)}) == 2
    (tmp_path / "a" / files.RESULTS).write_text('{"con')
    with pytest.raises(ValueError, match=r"results\.json is torn"):
        runs.finished_runs(tmp_path)


def test_columns_may_be_any_keys(tmp_path):
    for seed, decay in enumerate((0.0, 5e-4)):
        for method in ("superloss", "cross_entropy"):
            for batch in (128, 64):
                config = config_of(**{"loss.method": method, "optimizer.weight_decay": decay,
                                      "batch_size": batch, "seed": seed})  # fmt: skip
                write(tmp_path, f"{method}-{decay}-{batch}", config=config)
    assert len({run.row for run in runs.finished_runs(tmp_path)}) == 8
    found = runs.finished_runs(tmp_path, "batch_size,optimizer.weight_decay")
    assert {run.row for run in found} == {"superloss", "cross_entropy"}
    columns = sorted({run.column for run in found})
    assert [runs.heading(one, columns) for one in columns] == [
        "batch_size 64, weight_decay 0.0", "batch_size 64, weight_decay 0.0005",
        "batch_size 128, weight_decay 0.0", "batch_size 128, weight_decay 0.0005",
    ]  # fmt: skip
    assert runs.heading(columns[0], columns[:2]) == "weight_decay 0.0"
    assert all(f"{run.column.more[0][1]}" == run.path.name.rsplit("-")[-1] for run in found)
    with pytest.raises(ValueError, match=r"--columns: expected one of batch_size.*got 'weight_d"):
        runs.finished_runs(tmp_path, "weight_decay")
    write(tmp_path, "none", config=config_of(batch_size=None))  # numbers and None in one column
    assert sorted({run.column for run in runs.finished_runs(tmp_path, "batch_size")})[0].more == (
        ("batch_size", "128"),
    )


def test_the_epoch_that_counts(tmp_path):
    rng = np.random.default_rng(0)
    test, validation = rng.random(20), rng.random(20).round(1)  # with ties
    rows = [
        {"epoch": i + 1, "test_accuracy": t, "validation_accuracy": v}
        for i, (t, v) in enumerate(zip(test, validation, strict=True))
    ]
    found = selection.selected_scores(rows, ACCURACY)
    best = next(i for i in range(20) if validation[i] == max(validation))
    assert found == {
        "last": test[19], "mean_of_last_10": pytest.approx(sum(test[10:]) / 10),
        "best_validation": test[best], "best_epoch": best + 1,
    }  # fmt: skip
    path = write(tmp_path, "a", config=config_of(), test_accuracy=found)
    (path / files.METRICS).write_text("".join(map(files.line, rows)))
    (run,) = runs.finished_runs(tmp_path)
    assert runs.score_at(run, "last") == 100 * test[19]
    assert runs.score_at(run, "best_test") == 100 * max(test)
    assert tuning.validation_score(run, "best") == 100 * max(validation)
    assert runs.declared(run) == ("last",)
    (path / files.METRICS).write_text('{"epoch": 1}\n{"ep')
    with pytest.raises(ValueError, match=r"metrics\.jsonl"):
        runs.metrics(run)
    assert runs.selection_in_full(run, "best_validation") == "best epoch on noisy validation labels"
    changed = [None, 0.9, 0.6, 0.3, 0.3, 0.0, 0.6, 0.0, 0.0]  # means of three: .6 .4 .2 .3 .2 .2
    waves = [row | {"train_changed": c} for row, c in zip(rows, changed, strict=False)]
    found = selection.selected_scores(waves, ACCURACY)
    assert (found["label_wave"], found["label_wave_epoch"]) == (test[5], 6)
    alone = selection.selected_scores([{"epoch": 1, "test_accuracy": 0.5}] * 9, ACCURACY)
    assert alone == {"last": 0.5}  # too few epochs for a mean of ten
    assert selection.selected_scores([{"epoch": 1}], ACCURACY) == {}


def test_a_key_that_older_runs_lack_tells_runs_apart_by_its_old_behaviour(tmp_path):
    old, same, other = (config_of(**{"loss.method": "remembered_superloss"}) for _ in range(3))
    del old["loss"]["remembered_superloss"]["memory"], old["data"]["side"]
    other["loss"]["remembered_superloss"]["memory"] = "training"
    for seed, one in enumerate((old, same, other)):
        one["seed"] = seed
        write(tmp_path, str(seed), config=one, test_accuracy={"last": 0.5})
    rows = [run.row for run in runs.finished_runs(tmp_path)]
    assert rows == ["remembered_superloss"] * 2 + ["remembered_superloss, memory training"]
    group = runs.finished_runs(tmp_path)[:2]
    runs.check_alike(group, group[0].row)


@pytest.mark.parametrize(
    ("changed", "epoch"),
    [
        ([np.nan, 0.9, 0.6, 0.3, 0.0], 5),  # no minimum yet: the last
        ([np.nan, 0.3, 0.3, 0.3, 0.3], 4),  # a plateau: its first
        ([np.nan, 0.1, 0.2, 0.3, 0.6, 0.0, 0.0], 4),
        ([np.nan, 0.9, 0.6], None),
        ([np.nan], None),
    ],
)
def test_label_wave_is_the_first_minimum_of_means_of_three(changed, epoch):
    assert selection.label_wave(changed) == (None if epoch is None else epoch - 1)
