"""Compares one device with eight, one process with two, and groups of BatchNorm."""

import json
import os
import socket
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import digits
from experiments.models import batch_norm, networks
from experiments.training import build, devices
from experiments.training import step as one_step
from experiments.training.order import epoch_order
from tests.program.test_batches import WithBatchNorm
from tests.program.test_main import ROOT

X64 = bool(jax.config.read("jax_enable_x64"))


def steps_on(number, count, monkeypatch, dtype):
    """Returns the state after `count` steps on `number` devices, with BatchNorm and padding."""
    monkeypatch.setitem(networks.MODELS, "norm", WithBatchNorm)
    config = digits.get_config()
    config.devices, config.model.name, config.batch_size = number, "norm", 60  # no multiple of 8
    config.optimizer.name, config.optimizer.learning_rate = "sgd", 0.05
    config.augment.pad = 1
    run = build.build_run(config)
    run = run._replace(model=run.model.clone(dtype=dtype))
    state = one_step.init_state(run, 0)
    if dtype == jnp.float64:
        wide = {"params": state.params, "batch_stats": state.batch_stats}
        wide = jax.tree.map(lambda x: x.astype(dtype), wide)
        loss_state = jax.tree.map(lambda x: x.astype(dtype) if x.dtype == jnp.float32 else x,
                                  state.loss_state)  # fmt: skip
        state = devices.replicate(state._replace(**wide, loss_state=loss_state), run.layout)
    data = devices.replicate(run.problem.stored(run.dataset.train), run.layout)
    step, size = one_step.make_train_step(run), len(data.index)
    order = epoch_order(0, 1, size, 60, run.layout)
    assert order.shape[1] % number == 0
    for _ in range(count):
        state, failed = step(state, data, order)
        assert not failed
    assert len(state.params["Dense_0"]["kernel"].sharding.device_set) == number
    return jax.tree.map(np.asarray, state)


def distance(a, b):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(float(np.abs(x - y).max(initial=0)) for x, y in pairs)


@pytest.mark.x64
def test_eight_devices_are_one(monkeypatch):
    """Loss, gradient, tau, BatchNorm and metrics are computed over the whole batch."""
    if X64:
        one, eight = (steps_on(n, 20, monkeypatch, jnp.float64) for n in (1, 8))
        close = {"params": 1e-12, "batch_stats": 1e-12, "loss_state": 1e-12}
    else:
        one, eight = (steps_on(n, 1, monkeypatch, jnp.float32) for n in (1, 8))
        close = {"params": 1e-6, "batch_stats": 1e-6, "loss_state": 1e-6}
    for name, tolerance in close.items():
        assert distance(getattr(one, name), getattr(eight, name)) <= tolerance, name
    np.testing.assert_allclose(one.sums, eight.sums, rtol=1e-5)


def test_two_processes_that_read_their_own_rows_are_two_devices(tmp_path):
    command = [sys.executable, "-m", "experiments.main", "--config=configs/digits.py"]
    command += ["--config.epochs=1", "--config.checkpoint.every_epochs=1"]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"

    def start(path, flags, devices):
        env = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
        return subprocess.Popen([*command, f"--workdir={path}", *flags], cwd=ROOT, env=env,
                                stderr=subprocess.PIPE, text=True)  # fmt: skip

    shared = [f"--coordinator={address}", "--num_processes=2"]
    shared += ["--config.data.device_budget_mb=0.05"]  # streamed, and resident in one process
    running = [start(tmp_path / "two", [*shared, f"--process_id={i}"], 1) for i in (0, 1)]
    said = [process.communicate(timeout=120)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    one = start(tmp_path / "one", [], 2)
    assert one.wait(timeout=120) == 0, one.communicate()
    two, whole = ((tmp_path / name / "metrics.jsonl").read_bytes() for name in ("two", "one"))
    assert two == whole
    two, whole = (
        json.loads((tmp_path / name / "results.json").read_text()) for name in ("two", "one")
    )
    assert two["devices"] == 2
    assert two.pop("config")["data"].pop("device_budget_mb") == 0.05
    del whole["config"]
    assert two == whole
    one.stderr.close()


@pytest.mark.x64
def test_flags_of_processes_come_together():
    with pytest.raises(ValueError, match="expected all or none"):
        devices.start_processes("localhost:1", None, 0)
    for given, expected in {
        ("localhost", 1, 0): "--coordinator: expected HOST:PORT",
        ("localhost:1", 0, 0): "--num_processes: expected an integer from 1",
        ("localhost:1", 2, 2): "--process_id: expected an integer from 0 to 1, got 2",
    }.items():
        with pytest.raises(ValueError, match=expected):
            devices.start_processes(*given)


@pytest.mark.x64
def test_batch_norm_is_flax_s():
    x = jax.random.normal(jax.random.key(0), (12, 3, 3, 5), jnp.float32) * 3 + 1
    mask = jnp.arange(12) < 9
    ours, flax_s = batch_norm.BatchNorm(), nn.BatchNorm(use_running_average=False, momentum=0.9)
    variables = ours.init(jax.random.key(0), x, True)
    y, updated = ours.apply(variables, x, True, mask, mutable=["batch_stats"])
    where = mask[:, None, None, None]
    z, expected = flax_s.apply(variables, x, mask=where, mutable=["batch_stats"])
    np.testing.assert_allclose(y[:9], z[:9], atol=1e-5)
    for name, value in expected["batch_stats"].items():
        np.testing.assert_allclose(updated["batch_stats"][name], value, atol=1e-6)
    evaluated = ours.apply(variables | updated, x, False)
    still = nn.BatchNorm(use_running_average=True).apply(variables | updated, x)
    np.testing.assert_allclose(evaluated, still, atol=1e-5)


@pytest.mark.x64
def test_a_group_of_padding_has_no_say():
    x = jax.random.normal(jax.random.key(0), (12, 3, 3, 5), jnp.float32)
    grouped, mask = batch_norm.BatchNorm(groups=3), jnp.arange(12) < 6
    variables = grouped.init(jax.random.key(0), x, True)

    def total(params):
        y, updated = grouped.apply(variables | {"params": params}, x, True, mask,
                                   mutable=["batch_stats"])  # fmt: skip
        return jnp.sum(y[:6] ** 2), updated["batch_stats"]

    grads, stats = jax.grad(total, has_aux=True)(variables["params"])
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((grads, stats)))
    means = x[:4].mean((0, 1, 2)), x[4:6].mean((0, 1, 2))
    np.testing.assert_allclose(stats["mean"], 0.1 * sum(means) / 2, atol=1e-6)


@pytest.mark.x64
def test_groups_of_batch_norm_do_not_see_each_other():
    x = jax.random.normal(jax.random.key(0), (12, 3, 3, 5), jnp.float32)
    whole, grouped = batch_norm.BatchNorm(), batch_norm.BatchNorm(groups=3)
    variables = whole.init(jax.random.key(0), x, True)
    y, updated = grouped.apply(variables, x, True, mutable=["batch_stats"])
    parts = jnp.split(x, 3)
    parts = [whole.apply(variables, part, True, mutable=["batch_stats"]) for part in parts]
    np.testing.assert_allclose(y, jnp.concatenate([part[0] for part in parts]), atol=1e-6)
    means = [part[1]["batch_stats"]["mean"] for part in parts]
    np.testing.assert_allclose(updated["batch_stats"]["mean"], sum(means) / 3, atol=1e-6)
