"""MentorNet DD, first half: train with cross entropy, and keep every example's loss of each epoch.

    python -m experiments.main --config=configs/mentornet_record.py --workdir=runs/mentornet_record
    python -m experiments.report mentornet --workdir=runs/mentornet_record --known=0.1

The second command takes a tenth of the examples, of which it is told whether their labels are
wrong, and trains MentorNet's network to tell that from their losses at the end of the burn-in. It
writes runs/mentornet_record/mentornet.npz, with which mentornet_train.py trains. Lu Jiang et al.,
"MentorNet: Learning Data-Driven Curriculum for Very Deep Neural Networks on Corrupted Labels",
ICML 2018.
"""

from configs import rivals


def get_config():
    config = rivals.get_config()
    config.loss.method = "cross_entropy"
    config.report.losses = True
    return config
