"""lam of the three forms of SuperLoss on Omniglot's small sets, on seeds of its own.

    python -m experiments.sweep --config=configs/retrieval_omniglot_tuning.py \\
        --workdir=results/retrieval_omniglot_tuning --data_dir=DIR
    python -m experiments.report choose --workdir=results/retrieval_omniglot_tuning

Chosen by recall at 1 on 30 held-out training characters, whose labels are wrong as those of the
others. A run takes 5 to 30 s of one CPU core.
"""

from configs import retrieval_omniglot


def get_config():
    config = retrieval_omniglot.get_config()
    config.data.validation = 30
    config.report.selection = ("best_validation", "last")
    return config


def sweep():
    for epochs, seeds in ((6, (100, 101)), (47, (100,))):
        for seed in seeds:
            for setting in retrieval_omniglot.SETTINGS:
                lams = (0.1, 0.25, 1.0) if setting["loss.method"] == "superloss" else (0.25,)
                for lam in lams:
                    yield setting | {
                        "epochs": epochs,
                        "loss.lam": lam,
                        "seed": seed,
                        "noise.seed": seed,
                        "data.split_seed": seed,
                    }
