"""What a method's section of a config becomes."""

import numpy as np
import pytest

from experiments.training import methods
from tests.program.test_diagnostics import config_of


@pytest.mark.parametrize(("told", "kept"), [(-1.0, 4), (0.25, 6)])
def test_what_is_forgotten_is_the_noise_rate_or_the_share_that_is_given(told, kept):
    loss = config_of(**{"loss.method": "trimmed", "loss.trimmed.forget_rate": told}).loss
    facts = methods.Facts(8, 2, 20, None, rate=lambda step: 0.1, noise_rate=0.5)
    method = methods.make_method(loss, facts)
    state = method.init()
    for _ in range(2):  # the warm-up is a step
        losses, state = method.update(np.arange(1.0, 9.0), state)
    assert np.count_nonzero(losses) == kept
    if told == -1:
        with pytest.raises(ValueError, match=r"forget_rate: -1 is the rate.*; give a share"):
            methods.make_method(loss, facts._replace(noise_rate=None))
