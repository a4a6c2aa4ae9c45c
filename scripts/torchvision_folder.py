"""Measures how fast torchvision's ImageFolder and PyTorch's DataLoader decode a folder of images.

bench_streaming.py runs it in a separate environment:
python scripts/torchvision_folder.py FOLDER SIDE BATCH IMAGES WORKERS pil|jpeg
"""

import json
import resource
import sys
import time

import torch
import torchvision
from torchvision.io import ImageReadMode, decode_jpeg, read_file
from torchvision.transforms import v2

folder, side, batch, number, workers, decoder = sys.argv[1:]
torch.set_num_threads(1)
square = [v2.Resize(int(side), antialias=True), v2.CenterCrop(int(side))]


def tensor_of(path: str) -> torch.Tensor:
    return decode_jpeg(read_file(path), mode=ImageReadMode.RGB)


if decoder == "pil":
    images = torchvision.datasets.ImageFolder(folder, v2.Compose([*square, v2.PILToTensor()]))
else:
    images = torchvision.datasets.ImageFolder(folder, v2.Compose(square), loader=tensor_of)
order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[: int(number)]
loader = torch.utils.data.DataLoader(
    torch.utils.data.Subset(images, order.tolist()), int(batch), num_workers=int(workers)
)


def cpu() -> float:
    """CPU seconds of this process and of the workers that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


before, start, seen, total = cpu(), time.perf_counter(), 0, 0
for pixels, _ in loader:
    seen += len(pixels)
    total += int(pixels[0].sum())  # read, as a step would
seconds = time.perf_counter() - start
found = {"images": seen, "seconds": seconds, "cpu": cpu() - before}
print(json.dumps(found | {"version": torchvision.__version__}))
