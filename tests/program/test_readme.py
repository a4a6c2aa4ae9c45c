"""The README's Python examples run and reduce the loss, and its three lines are SuperLoss."""

import pathlib
import re

import jax
import numpy as np
import optax
import pytest

import superloss_jax

README = (pathlib.Path(__file__).parent.parent.parent / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
(DIFF,) = re.findall(r"```diff\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("code", EXAMPLES, ids=["plain", "linen", "nnx"])
def test_example(code):
    # The example's steps and 300 more: the labels are random, but can be memorised.
    scope: dict = {}
    *_, last_line = code.strip().splitlines()
    exec(code, scope)
    assert scope["loss_state"].count == 64
    first = float(scope["loss_state"].tau)
    assert np.isfinite(first)
    with jax.numpy_rank_promotion("raise"):
        exec("\n".join(["for _ in range(300):", f"    {last_line}"]), scope)
    assert scope["loss_state"].count == 301 * 64
    assert scope["loss_state"].tau < 0.9 * first


def test_three_lines_are_added_and_none_is_changed():
    logits = jax.random.normal(jax.random.key(0), (8, 3))
    given = {"superloss_jax": superloss_jax, "optax": optax,
             "logits": logits, "labels": np.arange(8) % 3}  # fmt: skip
    before, after, lines = dict(given), dict(given), DIFF.splitlines()
    assert [line[0] for line in lines] == ["+", "+", " ", "+", " "]
    exec("\n".join(line[1:] for line in lines if line[0] == " "), before)
    exec("\n".join(line[1:] for line in lines), after)
    expected, _ = superloss_jax.closed_form(before["losses"], before["loss"], 1.0)
    np.testing.assert_allclose(after["loss"], expected.mean(), rtol=1e-5)
    assert after["loss_state"].count == 8


def test_it_is_short():
    assert len(README.splitlines()) <= 150


def test_no_name_in_it_hides_a_module():
    modules = {"robust", "curricula", "memory", "pairs", "confidence", "noise"}
    for code in [*EXAMPLES, DIFF]:
        assigned = {name for line in code.splitlines() if " = " in line
                    for name in re.findall(r"\w+", line.partition(" = ")[0])}  # fmt: skip
        assert not assigned & modules
