"""Four settings of each method of remembered_digits.py, on digits with 40 % wrong labels.

    python -m experiments.sweep --config=configs/remembered_tuning.py \\
        --workdir=results/remembered_tuning
    python -m experiments.report choose --epoch=last --workdir=results/remembered_tuning

Settings are compared by the accuracy on noisy validation labels in the last epoch. The seeds are
none of the tables'. Cross entropy has nothing to set.
"""

from configs import rivals


def _settings(method, **values):
    """Yields the method once for each place in the lists, which are equally long."""
    keys = {key.replace("__", "."): column for key, column in values.items()}
    for row in zip(*keys.values(), strict=True):
        yield {"loss.method": method} | {f"loss.{k}": v for k, v in zip(keys, row, strict=True)}


def settings():
    yield {"loss.method": "cross_entropy"}
    yield from _settings("superloss", lam=(1.0, 0.25, 4.0))
    yield {
        "loss.method": "superloss", "loss.threshold": "constant", "loss.tau": 2.302585,
        "loss.lam": 0.25,
    }  # fmt: skip
    lams, shares = (1.0, 0.25, 4.0, 1.0), (0.2, 0.2, 0.2, 0.5)
    of = "remembered_superloss"
    yield from _settings(of, lam=lams, remembered_superloss__share=shares)
    guessed = ("training",) * 4  # form G: docs/remembered.md
    yield from _settings(
        of, lam=lams, remembered_superloss__share=shares, remembered_superloss__memory=guessed
    )
    lams, betas = (3.0, 1.0, 7.0, 3.0), (0.7, 0.7, 0.7, 0.9)
    yield from _settings("early_learning", early_learning__lam=lams, early_learning__beta=betas)
    starts, decays = (0.2, 0.1, 0.4, 0.2), (0.9, 0.9, 0.9, 0.5)
    yield from _settings("self_filter", self_filter__start=starts, self_filter__decay=decays)
    of = "generalized_cross_entropy"
    yield from _settings(of, generalized_cross_entropy__q=(0.7, 0.3, 0.5, 0.9))


def get_config():
    config = rivals.get_config()
    config.report.selection = ("last", "best_validation")
    return config


def sweep():
    for seed in (100, 101, 102):
        for setting in settings():
            yield setting | {"seed": seed, "noise.seed": seed, "data.split_seed": seed}
