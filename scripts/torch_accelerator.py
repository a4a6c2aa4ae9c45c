"""Measures ResNet-18 under torch.compile, for bench_accelerator.py and bench_flags.py.

Arguments: batch, steps and, optionally, torch.compile's mode; then the last line is ms a step.
"""

import sys
import time

import torch
from torch.nn import functional
from torch_train import resnet18

batch, steps = int(sys.argv[1]), int(sys.argv[2])
device = "cuda" if torch.cuda.is_available() else "cpu"
model = resnet18().to(device, memory_format=torch.channels_last)
images = torch.randn(batch, 3, 32, 32, device=device).to(memory_format=torch.channels_last)
labels = torch.randint(0, 10, (batch,), device=device)
optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=device == "cuda")
# For short steps, use CUDA graphs, as a user would.
mode = (sys.argv[3:] or ["reduce-overhead" if batch < 256 else "default"])[0]
torch.backends.cudnn.benchmark = mode == "max-autotune"
compiled = torch.compile(model, mode=mode) if device == "cuda" else model


def take(count):
    for _ in range(count):
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16):
            loss = functional.cross_entropy(compiled(images), labels)
        loss.backward()
        optimizer.step()
    if device == "cuda":
        torch.cuda.synchronize()


take(5)
start = time.perf_counter()
take(steps)
speed = batch * steps / (time.perf_counter() - start)
text = f"{speed:,.0f} images/s, {1e3 * batch / speed:.2f} ms a step"
print(
    f"PyTorch {torch.__version__}, {device}, resnet18, bfloat16, batch {batch}: {text}", flush=True
)
if sys.argv[3:]:
    print(1e3 * batch / speed)
