"""MentorNet DD, second half: the learned network gives each example its weight.

    python -m experiments.main --config=configs/mentornet_train.py --workdir=runs/mentornet_train
    python -m experiments.sweep --config=configs/mentornet_train.py --workdir=results/mentornet
    python -m experiments.report table --workdir=results/mentornet

The MentorNet is that of mentornet_record.py, from one run at 40 % wrong labels. The sweep uses it
for other seeds and rates as well, beside cross entropy and MentorNet's predefined curriculum. Both
have three percentiles: the one's own, the other's, and the share of right labels at a rate of 0.4.
84 runs of three seconds of one CPU core.
"""

from configs import rivals

POINTS = (
    {"loss.method": "cross_entropy"},
    {"loss.method": "mentornet"},  # with 75
    {"loss.method": "mentornet", "loss.mentornet.percentile": 50.0},
    {"loss.method": "mentornet", "loss.mentornet.percentile": 60.0},
    {"loss.method": "learned_mentornet"},  # with 50
    {"loss.method": "learned_mentornet", "loss.learned_mentornet.percentile": 60.0},
    {"loss.method": "learned_mentornet", "loss.learned_mentornet.percentile": 75.0},
)


def get_config():
    config = rivals.get_config()
    config.loss.method = "learned_mentornet"
    config.loss.learned_mentornet.path = "runs/mentornet_record/mentornet.npz"
    return config


def sweep():
    for rate in (0.0, 0.2, 0.4, 0.6):
        for point in POINTS:
            for seed in range(3):
                seeds = {"seed": seed, "noise.seed": seed, "data.split_seed": seed}
                yield {"noise.rate": rate} | point | seeds
