"""scripts/tried_forms.py: its forms with the library's defaults, and its tables."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.runs import stored
from scripts import forms, tried_forms
from superloss_jax import memory
from tests.program.test_guessed_memory import N, batches
from tests.program.test_main import ROOT

ROWS = json.loads((ROOT / "docs/tried_forms.json").read_text())


def test_the_defaults_are_the_library():
    form = forms.Form(signal="excess")
    ours, theirs = forms.transform(form, N), memory.remembered_superloss(num_examples=N)
    update, expected = jax.jit(ours.update), jax.jit(theirs.update)
    state, wanted, seen = ours.init(), theirs.init(), []
    for step, (losses, index, where) in enumerate(batches(60)):
        losses = np.nan_to_num(losses, nan=1.0)
        values, state = update(losses, state, where=where, index=index)
        found, wanted = expected(losses, wanted, where=where, index=index)
        np.testing.assert_allclose(values, found, rtol=1e-4, atol=1e-4)
        if step % 5 == 4:
            held_out = jnp.linspace(0.5, 3 + step / 10, 30)
            mask = np.arange(30) != 3
            state = forms.advance(form, state, held_out, mask)
            wanted = memory.advance(wanted, held_out, mask)
            np.testing.assert_allclose(state.remembered.memory, wanted.memory, atol=1e-5)
            seen.append(float(wanted.memory))
    assert min(seen) < 0.9
    assert len({*seen}) > 3


@pytest.mark.parametrize("change", [{}, {"entropy": True}, {"wide": True}, {"unweighted": True}])
def test_the_value_is_the_least_over_sigma(change):
    """With an example's first visit behind it, g = 0.5, and thresholds as they are found to be."""
    form = forms.Form(lam=0.7, g=0.5, **change)
    method = forms.transform(form, N)
    losses, index = np.linspace(0, 6, N, dtype=np.float32), np.arange(N)
    _, state = method.update(losses[::-1].copy(), method.init(), index=index)
    (values, new), pull = jax.vjp(lambda x: method.update(x, state, index=index), losses)
    part = 1.0 if form.unweighted else 0.5
    mean, tau = (float(one) for one in (new.other, new.remembered.tau))
    zero = (1 - part) * mean + part * (tau - np.asarray(state.remembered.evidence))
    sigma = np.linspace(1e-4, np.e if form.wide else np.exp(1 - part), 20_001)[:, None]
    cost = sigma * np.log(sigma) - sigma + 1 if form.entropy else np.log(sigma) ** 2
    every = (losses - zero) * sigma + 0.7 / (1 + part) * cost
    wanted, weight = every.min(axis=0), sigma[every.argmin(axis=0), 0]
    if form.unweighted:
        wanted, weight = (losses + wanted) / 2, (1 + weight) / 2
    np.testing.assert_allclose(values, wanted, atol=1e-4)
    gradient = pull((np.ones_like(losses), jax.tree.map(no_tangent, new)))[0]
    np.testing.assert_allclose(gradient, weight, atol=1e-3)


def no_tangent(leaf):
    inexact = jnp.issubdtype(leaf.dtype, jnp.floating)
    return np.zeros(leaf.shape, leaf.dtype if inexact else jax.dtypes.float0)


def state_of(**fields):
    state = forms.transform(forms.Form(), 4).init()
    last, visits = jnp.array([1.0, 2.0, 6.0, 9.0]), jnp.array([1.0, 1.0, 1.0, 0.0])
    remembered = state.remembered._replace(visits=visits, **fields)
    return state._replace(remembered=remembered, last=last)


def test_signals_and_laws_by_hand():
    """Training losses 1, 2 and 6, of which 9 of 10 were below tau; held out 2, 4 and 3."""
    state = state_of(seen=jnp.int32(10), below=jnp.int32(9))
    losses, where = jnp.array([2.0, 4.0, 3.0, 0.1]), np.array([True, True, True, False])
    wanted = {"excess": 0.8, "cautious": 0.8 - np.sqrt(0.25 / 3) / 0.5, "suspects": 0.9,
              "means": 0.0, "distance": 1 / 3}  # fmt: skip
    for name, value in wanted.items():
        found = forms.signal_of(name, state, losses, where, jnp.float32(0.5))
        assert found == pytest.approx(value, abs=1e-6), name
    for law, after in {"sum": 0.4, "now": 0.0, "highest": 0.7, "rises": 0.7}.items():
        assert forms.moved(law, 0.7, -0.3) == pytest.approx(after), law
    assert [float(forms.moved(law, 0.7, 0.8)) for law in ("sum", "now", "highest")] == (
        pytest.approx([1, 0.8, 0.8])
    )


def test_thresholds_by_hand():
    """Two batches with means 2 and 1; the soft minimum of equal losses is their mean."""
    index = jnp.arange(4)
    wanted = {"mean": 1.9, "highest": 2.0, "frozen": 1.9, "soft": 0.8 * 1.9 + 0.2 * 2}
    for plain, value in wanted.items():
        method = forms.transform(forms.Form(plain=plain), 4)
        update, state = jax.jit(method.update), method.init()
        for size in (2.0, 1.0):
            _, state = update(jnp.full(4, size), state, index=index)
        assert state.other == pytest.approx(value), plain
        np.testing.assert_allclose(state.remembered.evidence, 1 - wanted["soft"], rtol=1e-5)
    late = state._replace(remembered=state.remembered._replace(
        superloss=state.remembered.superloss._replace(count=jnp.int32(forms.FROZEN))))  # fmt: skip
    frozen = forms.transform(forms.Form(plain="frozen"), 4)
    assert frozen.update(jnp.full(4, 9.0), late, index=index)[1].other == late.other
    kept = forms.transform(forms.Form(keep=0.5, full="mean"), 4)
    _, new = kept.update(jnp.full(4, 9.0), late, index=index)
    mean = 0.9 * 1.9 + 0.1 * 9
    np.testing.assert_allclose(new.remembered.visits, 0.5 * 2 + 1)
    np.testing.assert_allclose(
        new.remembered.evidence, 0.5 * late.remembered.evidence + 9 - mean, rtol=1e-5
    )


@pytest.mark.parametrize("rate", [0.0, 0.4, 0.8])
def test_held_out_labels_are_wrong_at_the_wanted_rate(rate):
    _, run = tried_forms.built(tried_forms.Point("SuperLoss", rate=0.2, held_out=rate))
    wrong = [np.mean(part.targets != part.clean_targets)
             for part in (run.dataset.train, run.dataset.validation)]  # fmt: skip
    np.testing.assert_allclose(wrong, (0.2, rate), atol=0.05 * (rate > 0) + 0.03)


# --- The committed numbers. -----------------------------------------------------------------------


def test_the_file_has_every_run():
    points = {tuple(row[name] for name in tried_forms.Point._fields) for row in ROWS}
    assert points == {tuple(point) for point in tried_forms.points()}


def test_methods_of_the_program_have_the_numbers_of_its_sweep():
    methods = {"cross entropy": "cross_entropy", "SuperLoss": "superloss",
               "remembered SuperLoss": "remembered_superloss", "ELR": "early_learning"}  # fmt: skip
    packed = {}
    for one in stored.finished_below(ROOT / "results/remembered_digits"):
        config, last = one.results["config"], one.results["last_epoch"]
        if config["noise"]["kind"] == "symmetric_exclusive":
            key = config["loss"]["method"], config["noise"]["rate"], config["seed"]
            packed[key] = last["test_accuracy"], last["accuracy_wrong"]
    same = [
        row
        for row in ROWS
        if row["name"] in methods
        and (row["validation"], row["held_out"], row["epochs"]) == (200, row["rate"], 60)
    ]
    assert len(same) == 4 * 2 * 3
    for row in same:
        expected = packed[methods[row["name"]], row["rate"], row["seed"]]
        assert (row["accuracy"], row["fitted"]) == expected, row


def test_the_tables_of_the_document():
    text = (ROOT / "docs/remembered.md").read_text()
    for table in tried_forms.tables(ROWS):
        assert table in text
