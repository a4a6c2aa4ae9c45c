"""Measures the same training steps in PyTorch, for bench_train.py, in a separate environment.

Reads names of cases from stdin, one per line, and answers with CPU and wall seconds per step.
"""

import json
import os
import sys
import time

import torch
from torch import nn
from torch.nn import functional


def lenet():
    return nn.Sequential(
        nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84),
        nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def convnet():
    layers, channels = [], 3
    for features in (32, 64, 128):
        for _ in range(2):
            layers += [nn.Conv2d(channels, features, 3, padding=1), nn.ReLU()]
            channels = features
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(2048, 10))


class Block(nn.Module):
    def __init__(self, channels, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != width:
            conv = nn.Conv2d(channels, width, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(width))

    def forward(self, x):
        y = self.norm2(self.conv2(functional.relu(self.norm1(self.conv1(x)))))
        return functional.relu(y + self.shortcut(x))


def resnet18():
    layers = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    channels = 64
    for width in (64, 128, 256, 512):
        for j in range(2):
            layers.append(Block(channels, width, 2 if width > 64 and not j else 1))
            channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def step_of(model, batch):
    """Returns an eager step in channels_last on tensors in memory, PyTorch's fastest on CPU."""
    model = model.to(memory_format=torch.channels_last)
    images = torch.randn(batch, 3, 32, 32).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (batch,))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def step():
        optimizer.zero_grad()
        functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return step


def convolution(channels, side, batch=8):
    layer = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    layer = layer.to(memory_format=torch.channels_last)
    images = torch.randn(batch, channels, side, side).to(memory_format=torch.channels_last)

    def call():
        with torch.no_grad():
            layer(images)

    return call


def loader_epoch(count=5000):
    """Trains as CurBench does: a DataLoader with two workers, PIL transforms, batches of 50."""
    import numpy as np
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    transform = transforms.Compose([
        transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(),
        transforms.ToTensor(), transforms.Normalize((0.49, 0.48, 0.45), (0.25, 0.24, 0.26)),
    ])  # fmt: skip
    pixels = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8)

    class Images(Dataset):
        def __len__(self):
            return count

        def __getitem__(self, i):
            return transform(Image.fromarray(pixels[i])), i % 10

    model = lenet()
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)

    def epoch():
        for images, labels in DataLoader(Images(), 50, shuffle=True, num_workers=2):
            optimizer.zero_grad()
            functional.cross_entropy(model(images), labels).backward()
            optimizer.step()

    return epoch


def cpu_time():
    """Returns the CPU time of this process and of its finished children, the loader's workers."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


CASES = {
    "lenet 128": lambda: (step_of(lenet(), 128), 20),
    "lenet 512": lambda: (step_of(lenet(), 512), 5),
    "convnet 64": lambda: (step_of(convnet(), 64), 3),
    "resnet18 8": lambda: (step_of(resnet18(), 8), 3),
    "lenet 50, loader": lambda: (loader_epoch(), 1),
}
CASES |= {
    f"conv {channels}": lambda channels=channels, side=side: (convolution(channels, side), 5)
    for channels, side in ((64, 32), (128, 16), (256, 8), (512, 4))
}


def main():
    torch.set_num_threads(int(sys.argv[1]))
    made = {}
    for line in sys.stdin:
        name = line.strip()
        if name not in made:
            made[name] = CASES[name]()
            made[name][0]()  # warm-up
        run, number = made[name]
        cpu, wall = cpu_time(), time.perf_counter()
        for _ in range(number):
            run()
        cpu, wall = cpu_time() - cpu, time.perf_counter() - wall
        answer = {"cpu": cpu / number, "wall": wall / number, "version": torch.__version__}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
