"""Measures the CPU seconds in which torchvision crops, flips and normalises images.

bench_input.py runs it in a separate environment: python scripts/torchvision_input.py COUNT
"""

import json
import sys
import time

import numpy as np
import torch
import torchvision
from PIL import Image
from torchvision import transforms

count = int(sys.argv[1])
torch.set_num_threads(1)
images = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8)
mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
transform = transforms.Compose([
    transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(),
    transforms.ToTensor(), transforms.Normalize(mean, std),
])  # fmt: skip
seconds = []
for _ in range(3):
    start = time.process_time()
    for first in range(0, count, 128):
        batch = images[first : first + 128]
        torch.stack([transform(Image.fromarray(image)) for image in batch])
    seconds.append(time.process_time() - start)
print(json.dumps({"seconds": min(seconds), "version": torchvision.__version__}))
