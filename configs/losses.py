"""The section `config.loss`: which method transforms the losses, and its parameters.

`method` is SuperLoss or one of its rivals, and `base` is the loss that it transforms. SuperLoss
reads the keys from lam to window. Each other method reads the section of its name, whose defaults
are those of its paper or official code for CIFAR-10 with symmetric noise. Durations are shares of
the run, so that they scale with it.
"""

import ml_collections
from ml_collections import config_dict


def get_config():
    keep = {
        "forget_rate": -1.0,  # share of a batch; -1: the noise rate
        "warmup": 0.05,  # share of the run; 10 of 200 epochs
    }
    return ml_collections.ConfigDict({
        "method": "superloss",  # or a rival: docs/methods.md
        "base": "cross_entropy",  # the loss that the method transforms: docs/methods.md
        "lam": 1.0,  # SuperLoss's lambda: smaller, and weights are further from 1
        "threshold": "ema",  # SuperLoss's tau: ema, running_mean, constant, windowed, per_class
        "decay": 0.9,  # for ema and per_class
        "tau": config_dict.placeholder(float),  # for constant
        "window": 50,  # for windowed, in steps
        "normalise_weights": False,  # SuperLoss: sigma over its mean, of a batch; not the article's
        "generalized_cross_entropy": {"q": 0.7},
        "truncated_gce": {
            "q": 0.7, "k": 0.5,
            "start": 1 / 3,  # share of the run; after epoch 40 of 120
        },
        "symmetric_cross_entropy": {"alpha": 0.1, "beta": 1.0, "log_zero": -4.0},
        "active_passive": {
            "passive": "rce",  # or mae, agce, aul, ael
            "alpha": 1.0, "beta": 1.0,  # beta 4 with agce, aul and ael
            "a": 6.0,  # of agce; 6.3 with aul, 5 with ael
            "q": 1.5,  # of agce and aul
        },
        "active_negative": {"alpha": 5.0, "beta": 5.0},  # with optimizer.l1 5e-5
        "joint_asymmetric": {"alpha": 1.0, "beta": 1.0, "a": 30.0},  # with optimizer.l1 5e-5
        "asymmetric_gce": {"a": 0.6, "q": 0.6},
        "asymmetric_unhinged": {"a": 5.5, "q": 3.0},
        "asymmetric_exponential": {"a": 2.5},
        "epsilon_softmax": {"m": 1e5, "alpha": 0.01, "beta": 5.0},
        "logit_clip": {"delta": 1.0},  # largest norm of the logits
        "logit_adjustment": {"tau": 1.0},  # the prior: how frequent the given training labels are
        "label_smoothing": {"smoothing": 0.1},
        "bootstrap": {
            "hard": False,
            "beta": 0.95,  # 0.8 with hard
        },
        "focal": {"gamma": 2.0},
        "cauchy": {"scale": 1.0},  # in units of the loss
        "self_paced": {  # starts at log 10, grows by 1.3 every tenth of the run
            "weights": "hard", "threshold": 2.3, "growth": 1.3, "every": 0.1,
        },
        "dynamics_aware": {
            "q_start": 0.6, "q_end": 1.5,
            "end": 1.0,  # share of the run, after which q stays
        },
        "optimized_clipping": {
            "epsilon": 20.0, "size": 4096,  # losses that are remembered
            "interval": 32,  # steps from one fit to the next
        },
        "mentornet": {
            "percentile": 75.0, "decay": 0.5, "burn_in": 0.19,
            "second": 1.0, "second_from": 0.9,  # lambda_2, which is 0 before
        },
        "learned_mentornet": {
            "path": config_dict.placeholder(str),  # what `experiments.report mentornet` has written
            "percentile": config_dict.placeholder(float),  # of the losses; None: MentorNet's own
            "decay": 0.5, "burn_in": 0.18,
        },
        "data_parameters": {
            "kind": "instance",  # or class, or both
            "class_rate": 0.1, "instance_rate": 0.2, "momentum": 0.9, "clamp": 20.0,
        },
        "trend_superloss": {"alpha": 0.7, "window": 10},  # and SuperLoss's keys
        "remembered_superloss": {  # and SuperLoss's lam and decay
            "share": 0.2,
            "memory": "held_out",  # what it is guessed from: validation, or training (research)
        },
        "early_learning": {"lam": 3.0, "beta": 0.7},
        "self_filter": {"decay": 0.9, "start": 0.2},
        "co_teaching": keep,
        "trimmed": {**keep},
        "jocor": keep | {"lam": 0.9},
    })  # fmt: skip
