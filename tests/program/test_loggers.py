"""TensorBoard and Weights & Biases: each epoch once, and a logger that fails loses no run."""

import importlib.util
import json
import struct
import sys
import types

import pytest

from configs import digits
from experiments.runs import files, identity
from experiments.training import loggers

ROWS = [{"epoch": i, "test_accuracy": i / 8, "sigma_wrong": None} for i in range(1, 5)]


def config_of(logger, **overrides):
    config = digits.get_config()
    config.report.logger = logger
    config.update_from_flattened_dict(overrides)
    return config


def log(logger, path, rows, new, **overrides):
    """Starts a run after `rows`, logs the `new` ones, and ends it."""
    with loggers.started([(config_of(logger, **overrides), None, path)], [rows]) as send:
        for row in new:
            send(0, row)


def events(file):
    """The scalars of an event file, by TFRecord's framing: length, checksum, message, checksum."""
    from tensorboardX.proto import event_pb2

    content, at = file.read_bytes(), 0
    while at < len(content):
        (size,) = struct.unpack("<Q", content[at : at + 8])
        event = event_pb2.Event.FromString(content[at + 12 : at + 12 + size])
        for value in event.summary.value:
            if value.WhichOneof("value") == "simple_value":
                yield event.step, value.tag, value.simple_value
        at += size + 16


def test_tensorboard_has_each_epoch_once(tmp_path):
    pytest.importorskip("tensorboardX", reason="needs the extra tensorboard: tensorboardX")
    log("tensorboard", tmp_path, [], ROWS[:3])
    log("tensorboard", tmp_path, ROWS[:2], ROWS[2:])  # resumed after epoch 2
    (file,) = (tmp_path / loggers.TENSORBOARD).iterdir()
    found = [*events(file)]
    assert [one for one in found if one[1] != "epoch"] == [
        (row["epoch"], "test_accuracy", row["test_accuracy"]) for row in ROWS
    ]


def test_wandb_offline_ends_and_can_start_again(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="needs the extra wandb: wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    log("wandb", tmp_path, [], ROWS[:1])
    log("wandb", tmp_path, ROWS[:1], ROWS[1:])
    name = json.loads((tmp_path / loggers.WANDB).read_text())["id"]
    found = [*tmp_path.glob(f"wandb/offline-run-*-{name}/run-{name}.wandb")]
    assert found
    assert b"test_accuracy" in found[-1].read_bytes()


@pytest.fixture
def service(monkeypatch):
    """A W&B that keeps the rows of each run by its id, and accepts no step twice."""
    runs: dict = {}

    def init(**given):
        assert given["resume"] == "allow"
        kept = runs.setdefault(given["id"], [])

        def send(row, step, commit):
            assert commit
            assert all(step > before for before, _ in kept)
            kept.append((step, row))

        first = kept[-1][0] + 1 if kept else 0
        return types.SimpleNamespace(log=send, starting_step=first, finish=lambda: None)

    fake = types.SimpleNamespace(init=init, Settings=lambda **settings: settings)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return runs


def test_wandb_goes_on_with_its_run(service, tmp_path):
    log("wandb", tmp_path, [], ROWS[:3])  # killed
    log("wandb", tmp_path, ROWS[:2], ROWS[2:])  # resumed after epoch 2, so epoch 3 comes again
    numbers = [{"epoch": row["epoch"], "test_accuracy": row["test_accuracy"]} for row in ROWS]
    assert [*service.values()] == [[(row["epoch"], row) for row in numbers]]
    log("wandb", tmp_path, ROWS, [], epochs=90)  # more epochs
    assert len(service) == 1
    log("wandb", tmp_path, [], ROWS[:1], seed=5)  # another run in its place
    assert [len(rows) for rows in service.values()] == [4, 1]


@pytest.mark.parametrize("when", ["start", "row", "close"])
def test_a_logger_that_fails_stops_no_run(when, tmp_path, monkeypatch, capfd):
    sent = []

    def act(name, value=None):
        sent.append((name, value))
        if name == when:
            raise RuntimeError("the disk is full\nand more")

    def make(config, path, rows):
        act("start")
        return loggers.Logger(lambda epoch, row: act("row", epoch), lambda: act("close"))

    monkeypatch.setitem(loggers.LOGGERS, "wandb", make)
    log("wandb", tmp_path, [], ROWS[:2])
    said = capfd.readouterr().err
    assert said == "logger   failed, and the run goes on without it: the disk is full\n"
    assert (
        sent
        == {
            "start": [("start", None)],
            "row": [("start", None), ("row", 1)],
            "close": [("start", None), ("row", 1), ("row", 2), ("close", None)],
        }[when]
    )


def test_what_is_asked_for_must_be_there(monkeypatch):
    loggers.check(config_of(""))
    with pytest.raises(ValueError, match=r"logger: expected one of tensorboard, wandb, got"):
        loggers.check(config_of("tensorbord"))
    own = config_of("")
    with own.unlocked():
        del own.report.logger  # as in a user's older config
    loggers.check(own)
    identity.check_complete(own.to_dict())
    for spec in (None, importlib.util.spec_from_loader("wandb", None)):  # missing; a folder
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, spec=spec: spec)
        with pytest.raises(ValueError, match=r"is not installed: pip install wandb$"):
            loggers.check(config_of("wandb"))


def test_the_logger_makes_no_other_run():
    plain, logged = config_of("").to_dict(), config_of("wandb").to_dict()
    before = config_of("").to_dict()
    del before["report"]["logger"]
    assert len({identity.config_sha256(one) for one in (plain, logged, before)}) == 1
    before = identity.plain(before)  # as it is read
    assert files.is_same(before, logged)
    assert not files.is_same(before, logged | {"report": {"selection": ["last"], "losses": True}})
