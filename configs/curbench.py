"""CurBench's protocol: cross entropy and SuperLoss, three models, noise and imbalance, five seeds.

    python -m experiments.sweep --config=configs/curbench.py --workdir=results/curbench \
        --data_dir=~/tensorflow_datasets \
        --config.data.name=cifar10 --config.model.name=lenet [--config.noise.rate=0.4]
    python -m experiments.report table --workdir=results/curbench --published

Adam with a constant learning rate of 1e-4, batch 50, 200 epochs, crop and flip, PyTorch's default
initialisation, 45,000 / 5,000 / 10,000 images, clean validation labels. SuperLoss uses an EMA with
decay 0.9 and lam 1. Published test accuracy at the best validation epoch on CIFAR-10 (cross
entropy, SuperLoss):

              no noise                    noise 0.4                   imbalance 50
    lenet     69.95 +- 1.00, 70.29 +- .68  65.02 +- 1.12, 65.93 +- .57  44.93 +- .56, 43.13 +- .51
    resnet18  92.33 +- 0.16, 92.27 +- .22  82.75 +- 2.06, 84.54 +- .40  75.49 +- .87, 76.43 +- .96
    vit       79.90 +- 0.38, 79.42 +- .25  64.19 +- 0.51, 66.13 +- .49  52.12 +- .81, 51.86 +- .60

A LeNet run takes 35 to 40 minutes on a CPU core, and 12 minutes at imbalance 50. From the measured
steps (docs/training.md), a ResNet-18 run takes 10 minutes on an H100, or 8 in bfloat16. ViT was not
timed there. Yuwei Zhou et al., "CurBench: Curriculum Learning Benchmark", ICML 2024.
"""

from configs import cifar10


def get_config():
    config = cifar10.get_config()
    config.seed = 42
    config.epochs = 200
    config.batch_size = 50
    config.data.validation_labels = "clean"
    config.noise.seed = 42
    config.data.split_seed = 42
    config.model.init = "torch"
    config.optimizer.learning_rate = 1e-4
    config.report.selection = ("best_validation",)
    return config


def sweep():
    for data in ("cifar10", "cifar100"):
        for model in ("lenet", "resnet18", "vit_curbench"):
            for rate, imbalance in ((0.0, 1.0), (0.4, 1.0), (0.0, 50.0)):
                for method in ("cross_entropy", "superloss"):
                    for seed in (42, 666, 777, 888, 999):
                        yield {
                            "data.name": data,
                            "model.name": model,
                            "noise.rate": rate,
                            "data.imbalance": imbalance,
                            "loss.method": method,
                            "seed": seed,
                            "noise.seed": seed,
                            "data.split_seed": seed,
                        }
