"""Prints two steps of PyTorch's optimizers, as used in tests/program/test_optimizers.py."""

import torch

SETTINGS = {
    ("sgd", 0.0, False): lambda p: torch.optim.SGD(p, 0.1, weight_decay=0.01),
    ("sgd", 0.9, False): lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01),
    ("sgd", 0.9, True): lambda p: torch.optim.SGD(
        p, 0.1, momentum=0.9, weight_decay=0.01, nesterov=True
    ),
    ("adam", 0.9, False): lambda p: torch.optim.Adam(p, 0.1, weight_decay=0.01),
    ("adamw", 0.9, False): lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.01),
}
for key, make in SETTINGS.items():
    w = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    optimizer = make([w])
    for gradient in ([0.5, 0.25], [-1.0, 0.75]):
        w.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
    print(f"    {key}: {tuple(round(x, 7) for x in w.tolist())},".replace("'", '"'))
