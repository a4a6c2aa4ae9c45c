"""CIFAR-10N with human labels (variant "worse", 40.2 % wrong), set up as in cifar_cpu_table.py.

    python -m experiments.sweep --config=configs/cifar10n.py --workdir=results/cifar10n \
        --data_dir=~/tensorflow_datasets
    python -m experiments.report table --workdir=results/cifar10n --published

15 runs of 5 minutes on a CPU core: ConvNetSmall, the methods with the settings chosen there, and
seeds 0 to 2 for network and split. Published for ResNet-34 (Wei et al., ICLR 2022): cross entropy
77.69, ELR 83.58, co-teaching 83.83. `--config.model.name=resnet34` needs an accelerator.
"""

from configs import cifar_cpu_table


def get_config():
    config = cifar_cpu_table.get_config()
    config.data.name = "cifar10n"
    config.data.variant = "worse"
    config.noise.kind = "given"
    config.noise.rate = 0.0
    return config


def sweep():
    for seed in range(3):
        for method in cifar_cpu_table.CHOSEN:
            yield method | {"seed": seed, "data.split_seed": seed}
