"""The README's Python examples run and reduce the loss."""

import pathlib
import re

import jax
import numpy as np
import pytest

README = (pathlib.Path(__file__).parent.parent.parent / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("code", EXAMPLES, ids=["linen", "nnx"])
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
