"""MentorNet DD, second half: the learned network gives each example its weight.

    python -m experiments.main --config=configs/mentornet_train.py --workdir=runs/mentornet_train
    python -m experiments.sweep --config=configs/mentornet_train.py --workdir=results/mentornet
    python -m experiments.report table --workdir=results/mentornet

A single run takes the MentorNet of mentornet_record.py.
"""

from configs import rivals


def get_config():
    config = rivals.get_config()
    config.loss.method = "learned_mentornet"
    config.loss.learned_mentornet.path = "runs/mentornet_record/mentornet.npz"
    return config


def sweep():
    for method in ("cross_entropy", "mentornet", "learned_mentornet"):
        for seed in range(3):
            seeds = {"seed": seed, "noise.seed": seed, "data.split_seed": seed}
            yield {"loss.method": method} | seeds
