"""A run's hash covers the keys that are declared as read, and these are really read."""

import json
import pathlib
import runpy
from collections.abc import Mapping

import jax
import ml_collections
import numpy as np
import pytest

from configs import digits
from experiments.runs import files, identity, reads
from experiments.training import build, mentors, methods, superlosses
from tests.program.running import train_one
from tests.program.test_mentornet import written as mentor_file

ROOT = pathlib.Path(__file__).parent.parent.parent


def config_of(**overrides):
    config = digits.get_config()
    config.devices, config.epochs, config.batch_size = 1, 1, 256
    config.checkpoint.every_minutes = 0
    config.update_from_flattened_dict(overrides)
    return config


class Reading(Mapping):
    """A config that records which values are read."""

    def __init__(self, config, read, prefix=""):
        self.config, self.read, self.prefix = config, read, prefix

    def __getitem__(self, name):
        value = self.config[name]
        if isinstance(value, ml_collections.ConfigDict):
            return Reading(value, self.read, f"{self.prefix}{name}.")
        self.read.add(self.prefix + name)
        return value

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(name) from error

    def __contains__(self, name):
        return name in self.config

    def __iter__(self):
        return iter(self.config)

    def __len__(self):
        return len(self.config)

    def to_dict(self):  # for config.json, which holds all keys
        return self.config.to_dict()


KINDS = [
    *({"loss.method": name} for name in methods.METHODS
      if name not in (*superlosses.ADVANCES, *methods.FROM_FILE)),
    *({"loss.method": name, "data.validation": 100} for name in superlosses.ADVANCES),
    *({"loss.threshold": name} for name in ("running_mean", "windowed", "per_class")),
    {"loss.threshold": "constant", "loss.tau": 2.3},
    {"loss.method": "trend_superloss", "loss.threshold": "windowed"},
    {"loss.base": "generalized_cross_entropy"},
    *({"loss.method": "active_passive", "loss.active_passive.passive": name}
      for name in ("agce", "ael")),
    {"loss.method": "cross_entropy", "loss.base": "focal"},
    *({"loss.method": "data_parameters", "loss.data_parameters.kind": kind}
      for kind in ("class", "both")),
    *({"optimizer.name": name} for name in ("sgd", "adamw")),
    {"optimizer.schedule": "cosine", "optimizer.warmup_epochs": 0.5},
    *({"optimizer.schedule": name, "optimizer.boundaries": (1.0,)}
      for name in ("piecewise", "cyclic")),
    {"data.validation": 100},
    {"data.imbalance": 3.0},
    {"noise.rate": 0.0},
    {"noise.kind": "given"},
    {"noise.kind": "instance_dependent", "noise.rate": 0.0},
    {"augment.pad": 1, "augment.mixup": 1.0, "loss.method": "cross_entropy"},
    {"mean_teacher.weight": 1.0, "average.decay": 0.9, "loss.method": "self_filter"},
]  # fmt: skip


def test_what_is_declared_is_what_is_read(monkeypatch, tmp_path):
    """For every kind of run, building and training read exactly the declared keys."""
    monkeypatch.setattr(identity, "read_part", lambda config: config)
    mentor = mentor_file(tmp_path / "mentor.npz", mentors.drawn(jax.random.key(0), 1))
    own = {"loss.method": "learned_mentornet", "loss.learned_mentornet.path": mentor}
    for overrides in (*KINDS, own):
        config, read = config_of(**overrides), set()
        run = build.build_run(Reading(config, read))
        if overrides in ({"loss.method": "superloss"}, {"data.validation": 100}):
            path = tmp_path / str(len(read))
            path.mkdir()
            train_one(Reading(config, read), run, path)
        flat = identity.flattened(config.to_dict())
        found = {key for key in read if not identity.is_carried_out(key)}
        assert found == {key for key in flat if identity.is_read(key, flat)}, overrides


def test_a_key_that_is_not_declared_cannot_be_read():
    config = config_of(**{"loss.method": "focal", "optimizer.name": "adam"})
    part = identity.read_part(config)
    assert part.loss.to_dict() == {
        "method": "focal", "base": "cross_entropy", "focal": {"gamma": 2.0},
        **{name: {} for name in part.loss if name not in ("method", "base", "focal")},
    }  # fmt: skip
    with pytest.raises(AttributeError, match="momentum"):
        _ = part.optimizer.momentum
    assert config.optimizer.momentum == 0.9  # the user's config is unchanged


def same(a, b):
    return identity.config_sha256(a.to_dict()) == identity.config_sha256(b.to_dict())


def test_what_is_not_read_changes_no_hash():
    config = config_of()
    for changes in (
        {"loss.generalized_cross_entropy.q": 0.3}, {"optimizer.momentum": 0.5}, {"loss.tau": 1.0},
        {"loss.window": 9}, {"optimizer.factor": 0.5}, {"data.imbalance_exact": True},
        {"data.validation_labels": "clean"}, {"checkpoint.keep": 5}, {"vmap_seeds": 3},
        {"data.device_budget_mb": 1.0}, {"data.decode": "files"}, {"data.workers": 3},
        {"report.losses": True}, {"mean_teacher.warmup_epochs": 3.0},
    ):  # fmt: skip
        assert same(config, config_of(**changes)), changes
    with config.unlocked():
        config.loss.superloss = {"new": 1.0}
        config.loss.focal.new = 1.0
        config.regression = {"scale": 1.0}  # another task's
        config.data.new = 1
        config.task = "classification"
    assert same(config, config_of())
    clean = config_of(**{"noise.rate": 0.0})
    assert same(clean, config_of(**{"noise.rate": 0.0, "noise.seed": 5, "noise.kind": "pair_flip"}))


def test_what_is_read_changes_the_hash():
    """Changing any key that a run reads changes its hash, for every kind of run."""
    for overrides in KINDS:
        config = config_of(**overrides)
        flat = identity.flattened(config.to_dict())
        values = identity.meaning(config.to_dict())
        for key in values:
            if values[key] == "none":  # without noise, its kind does not matter
                continue
            changed = config.to_dict()
            section = changed
            *parents, name = key.split(".")
            for parent in parents:
                section = section[parent]
            section[name] = "another" if isinstance(flat[key], str | None) else 77
            assert identity.config_sha256(changed) != identity.config_sha256(config.to_dict()), key


def test_a_key_of_today_at_its_value_of_before(monkeypatch):
    config, old = config_of(), config_of()
    with config.unlocked():
        config.loss.superloss = {"hardening": 0.0}
    monkeypatch.setitem(reads.EVERY_RUN["loss"], "superloss.hardening", reads.always)
    assert not same(config, old)
    monkeypatch.setitem(reads.BEFORE, "loss.superloss.hardening", 0.0)
    assert same(config, old)
    config.loss.superloss.hardening = 0.5
    assert not same(config, old)


def test_a_user_s_own_task_may_read_whatever_there_is():
    config = config_of()
    with config.unlocked():
        config.task, config.width = "mine:task", 8
    narrow = config.copy_and_resolve_references()
    narrow.width = 4
    assert not same(config, narrow)
    assert identity.read_part(config).width == 8
    narrow.width, narrow.loss.focal.gamma = 8, 3.0
    assert same(config, narrow)  # the methods' sections are the program's
    for section, name in (("loss", "mine"), ("checkpoint", "init"), ("report", "mine")):
        with config.unlocked(), narrow.unlocked():
            config[section][name], narrow[section][name] = 1.0, 2.0
        assert not same(config, narrow)
        assert identity.read_part(config)[section][name] == 1.0
        narrow[section][name] = 1.0


def test_a_key_that_nothing_reads_is_refused():
    config = config_of()
    with config.unlocked():
        config.model.width = 64
    with pytest.raises(ValueError, match=r"config\.model\.width: nothing reads it; declare it in"):
        build.build_run(config)
    with pytest.raises(ValueError, match=r"config\.model\.width: nothing reads it"):
        identity.check_known(identity.flattened(config.to_dict()), ["model.width"])
    with config.unlocked():
        del config.model.width
    for key in ("epoch", "loss.superloss_lam", "checkpoint.every_step", "report.loss"):
        flat = identity.flattened(config.to_dict()) | {key: 1}
        with pytest.raises(ValueError, match=f"config.{key}: nothing reads it"):
            identity.check_known(flat, flat)
    own = {**identity.flattened(config.to_dict()), "loss.method": "focal", "loss.focal.gama": 1.0}
    with pytest.raises(ValueError, match=r"config\.loss\.focal\.gama: nothing reads it"):
        identity.check_known(own, own)
    with config.unlocked():
        config.regression = {"scale": 1.0}  # a section of another task
        config.loss.focal.new = 1.0  # a key of a method that the run does not use
    build.build_run(config)


def test_a_key_that_another_task_alone_reads_is_refused_if_it_is_asked_for():
    flat = identity.flattened(config_of().to_dict()) | {"task": "regression"}
    said = r"config\.easy_anchors\.weight: no run of config\.task='regression' reads it; those of"
    with pytest.raises(ValueError, match=rf"{said} 'classification' do"):
        identity.check_asked([flat], ["loss.lam", "easy_anchors.weight"])
    with pytest.raises(ValueError, match=r"config\.residual\.loss: .* those of 'regression' do"):
        identity.check_asked([config_of()], ["residual.loss"])
    # In a sweep over tasks one of them is enough; a user's own task may read anything.
    identity.check_asked([flat, config_of()], ["easy_anchors.weight", "noise.rate"])
    identity.check_asked([{"task": "own:task"}], ["easy_anchors.weight"])
    identity.check_asked([config_of()], ["epochs", "vmap_seeds", "report.losses"])


def test_what_a_run_does_not_read_is_said():
    flat = identity.flattened(config_of().to_dict()) | {"loss.method": "cross_entropy"}
    asked = ["loss.lam", "loss.focal.gamma", "epochs", "data.decode"]
    assert identity.unread(flat, asked) == ["loss.lam", "loss.focal.gamma"]
    assert identity.unread(flat | {"loss.method": "focal"}, asked) == ["loss.lam"]


def test_lengths_in_shares_of_a_run_are_known(monkeypatch):
    """These methods depend on the length of the run, so more epochs are refused when resuming."""
    found = set()
    share = methods.Facts.share

    def noted(self, name, part):
        found.add(name)
        return share(self, name, part)

    monkeypatch.setattr(methods.Facts, "share", noted)
    counts, rate = (lambda: np.ones(3)), lambda step: 0.1
    facts = methods.Facts(10, 3, 1000, lambda: np.eye(3), rate, counts, noise_rate=0.4)
    for name in methods.METHODS.keys() - {*methods.FROM_FILE}:
        methods.make_method(config_of(**{"loss.method": name}).loss, facts)
    assert found == files.SHARES


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.py")), ids=lambda f: f.stem)
def test_points_of_a_sweep_are_different_runs(file):
    module = runpy.run_path(str(file))
    if "sweep" not in module:
        pytest.skip("no sweep")
    hashes = {}
    for point in module["sweep"]():
        config = module["get_config"]()
        config.update_from_flattened_dict(point)
        seeds = json.dumps({key: value for key, value in point.items() if "rate" not in key})
        hashes.setdefault(identity.config_sha256(config.to_dict()), set()).add(seeds)
    assert all(len(points) == 1 for points in hashes.values())
