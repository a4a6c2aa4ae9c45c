"""Digit values of MNIST as numbers: 4,000 training images, wrong targets, a small network.

    python -m experiments.main --config=configs/regression_mnist.py --workdir=runs/mnist \\
        --data_dir=DIR
    python -m experiments.sweep --config=configs/regression_mnist.py \\
        --workdir=results/regression_mnist --data_dir=DIR

The article's set-up as far as it is known: smooth L1 or L2, 0 to 80 % of the targets permuted, or
40 % replaced by uniform numbers. A run takes 7 s of one CPU core, the sweep of 240 runs half an
hour. lam and Cauchy's scale were chosen by the error on 500 noisy validation targets at noise 0.4,
seed 0, and `trimmed` is told the rate of noise, so that it is an upper bound of its kind.
"""

from configs import regression


def get_config():
    config = regression.get_config()
    config.epochs = 12
    config.batch_size = 50
    config.data.name = "mnist20k"
    config.data.examples = 4000
    config.model.name = "convnet_tiny"
    config.optimizer.learning_rate = 3e-3
    config.optimizer.schedule = "cosine"
    return config


def sweep():
    rates = [("permute", rate) for rate in (0.0, 0.2, 0.4, 0.6, 0.8)]
    for kind, rate in (*rates, ("uniform", 0.4)):
        for loss in ("huber", "l2"):
            for seed in range(5):
                for method in ("plain", "superloss", "cauchy", "trimmed"):
                    yield {
                        "residual.loss": loss,
                        "noise.kind": kind,
                        "noise.rate": rate,
                        "loss.method": method,
                        "loss.trimmed.forget_rate": rate,
                        "seed": seed,
                        "noise.seed": seed,
                        "data.split_seed": seed,
                    }
