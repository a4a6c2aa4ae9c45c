"""SELF and its parts on digits: filter and mean teacher, alone and together, for five noises.

    python -m experiments.sweep --config=configs/self_digits.py --workdir=results/self_digits \\
        --seeds_at_once=3
    python -m experiments.sweep --config=configs/self_digits.py --config.augment.pad=0 \\
        --workdir=results/self_digits_uncropped --seeds_at_once=3
    python -m experiments.report table --workdir=results/self_digits

An MLP, 60 epochs, crops by one pixel or none, 3 seeds, 200 noisy validation labels: 105 runs of
about 4 s on one CPU core. Nothing is tuned: the filter has its defaults, the teacher those of
semi_supervised.py, and its weight rises as long as the filter waits. LATE was added when the first
runs with crops had shown that the filter came too early.
"""

from configs import digits

NOISE = (
    *({"noise.kind": "symmetric_exclusive", "noise.rate": rate} for rate in (0.2, 0.4, 0.6, 0.8)),
    {"noise.kind": "pair_flip", "noise.rate": 0.4},
)
AVERAGE = {"average.decay": 0.99}
LATE = {"loss.self_filter.start": 0.5}
TEACHER = AVERAGE | {"mean_teacher.weight": 10.0, "mean_teacher.warmup_epochs": 12.0}


def get_config():
    config = digits.get_config()
    config.data.validation = 200
    config.augment.pad = 1
    config.report.selection = ("last", "best_validation")
    return config


def methods():
    """Yields cross entropy, also of averaged weights, the teacher, the filter, and both: SELF."""
    yield {"loss.method": "cross_entropy"}
    yield {"loss.method": "cross_entropy"} | AVERAGE
    yield {"loss.method": "cross_entropy"} | TEACHER
    for start in ({}, LATE):
        yield {"loss.method": "self_filter"} | start
        yield {"loss.method": "self_filter"} | start | TEACHER


def sweep():
    for noise in NOISE:
        for method in methods():
            for seed in range(3):
                seeds = {"seed": seed, "noise.seed": seed, "data.split_seed": seed}
                yield noise | method | seeds
