"""A user's own model, data set and method, named as module:name."""

import numpy as np
import pytest

from configs import own
from experiments.runs import samples
from experiments.training import build
from tests.program.running import train_one

HERE = "tests.program.own_parts"


def config_of(**changes):
    config = own.get_config()
    config.epochs, config.batch_size = 3, 20
    config.data.name = f"{HERE}:stripes"
    config.model.name = f"{HERE}:Linear"
    config.loss.method = f"{HERE}:halved"
    config.optimizer.learning_rate = 0.01
    config.update_from_flattened_dict(changes)
    return config


def test_they_train_together(tmp_path):
    config = config_of()
    results = train_one(config, build.build_run(config), tmp_path)
    assert results["test_accuracy"]["last"] == 1
    assert results["num_params"] == 8 * 8 * 2 + 2
    rows = samples.read_samples(tmp_path)
    np.testing.assert_allclose(rows["weight"], np.where(rows["index"] % 2, 1, 0.5))
    assert set(np.flatnonzero(rows["wrong"])) <= {0, 1, 2, 3}  # some may be held out


@pytest.mark.parametrize(
    ("key", "name", "message"),
    [
        ("data.name", "no.such:thing", "cannot import no.such:thing: No module named 'no'"),
        ("data.name", f"{HERE}:nothing", "to return a dictionary of NumPy arrays, got NoneType"),
        ("model.name", f"{HERE}:missing", "cannot import .* has no attribute 'missing'"),
        ("model.name", f"{HERE}:stripes", r"stripes\(num_classes, dtype\): .* unexpected keyword"),
        ("loss.method", f"{HERE}:nothing", "to return a LossTransform, got NoneType"),
    ],
)
def test_a_part_that_does_not_fit(key, name, message):
    with pytest.raises(ValueError, match=rf"config\.{key}: .*{message}"):
        build.build_run(config_of(**{key: name}))
