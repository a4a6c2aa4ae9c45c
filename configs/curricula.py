"""Curricula known beforehand, on digits: the easiest first, as a teacher sees it, 3 seeds.

    for rate in 0.0 0.4; do for seed in 0 1 2; do
        python -m experiments.main --config=configs/curricula.py --config.noise.rate=$rate \\
            --config.seed=$seed --config.noise.seed=$seed --config.data.split_seed=$seed \\
            --workdir=runs/teacher_${rate}_$seed
    done; done
    python -m experiments.sweep --config=configs/curricula.py --workdir=results/curricula
    python -m experiments.report table --workdir=results/curricula

The teacher is the same network, trained with cross entropy on the same labels, and the difficulty
of an example is its mean loss. Nothing is tuned. 36 runs of three seconds of one CPU core.
"""

from configs import rivals

TEACHER = {"curriculum.difficulty": "runs/teacher_{noise.rate}_{seed}"}
PACINGS = ("linear", "root", "exponential", "baby_steps", "single_step")


def get_config():
    config = rivals.get_config()
    config.loss.method = "cross_entropy"
    config.report.selection = ("last", "best_validation")
    return config


def sweep():
    for rate in (0.0, 0.4):
        for seed in range(3):
            seeds = {"seed": seed, "noise.seed": seed, "data.split_seed": seed}
            yield {"noise.rate": rate} | seeds
            for pacing in PACINGS:
                yield {"noise.rate": rate} | seeds | TEACHER | {"curriculum.pacing": pacing}
