"""Training steps of this program, for bench_train.py: names of cases in, seconds a step out."""

import functools
import json
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
if sys.argv[1] == "1":
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"

import flax.linen as nn
import jax
import numpy as np

from configs import digits
from experiments import data
from experiments.models import cpu, images
from experiments.tasks import images as batches
from experiments.training import build, devices, methods
from experiments.training import step as one_step


class PlainLeNet(nn.Module):
    """LeNet as one writes it at first: what `before` is measured on."""

    num_classes: int
    dtype: type = np.float32

    @nn.compact
    def __call__(self, x, train: bool, mask=None):
        for features in (6, 16):
            x = nn.relu(nn.Conv(features, (5, 5), padding="VALID")(x))
            x = nn.max_pool(x, (2, 2), strides=(2, 2))
        x = x.reshape(x.shape[0], -1)
        for width in (120, 84):
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(self.num_classes)(x)


class PlainConvNet(nn.Module):
    num_classes: int
    dtype: type = np.float32

    @nn.compact
    def __call__(self, x, train: bool, mask=None):
        for features in (32, 64, 128):
            for _ in range(2):
                x = nn.relu(nn.Conv(features, (3, 3))(x))
            x = nn.max_pool(x, (2, 2), strides=(2, 2))
        return nn.Dense(self.num_classes)(x.reshape(x.shape[0], -1))


cpu.keep_freed_memory()  # as the program does
images.MODELS |= {"plain_lenet": PlainLeNet, "plain_convnet": PlainConvNet}


def images_of_cifar10_s_size(**unused):
    rng = np.random.default_rng(0)
    arrays = {"train_images": rng.integers(0, 256, (5000, 32, 32, 3), np.uint8)}
    arrays["train_labels"] = (np.arange(5000) % 10).astype(np.int32)
    arrays |= {"test_images": arrays["train_images"][:0], "test_labels": np.zeros(0, np.int32)}
    return data.base.dataset("cifar10", [str(i) for i in range(10)], arrays)


data.DATASETS["cifar10"] = images_of_cifar10_s_size


def step_of(name, batch, *, method="cross_entropy", crop=False, scan=0):
    """The program's own step: draw, normalise, loss, gradients, metrics, update."""
    config = digits.get_config()
    config.data.name, config.model.name, config.batch_size = "cifar10", name, batch
    config.loss.method, config.devices = method, 1
    config.augment.pad, config.augment.flip = (4, True) if crop else (0, False)
    run = build.build(config)
    state = one_step.init_state(run, 0)
    on_device = devices.replicate(batches.train_data(run.dataset.train, run.augment), run.layout)
    order = batches.epoch_order(0, 1, 5000, batch, run.layout)
    step = one_step.make_train_step(run)
    if scan:

        @functools.partial(jax.jit, donate_argnums=0)
        def many(state, data, order):
            def body(state, _):
                return step(state, data, order)[0], None

            return jax.lax.scan(body, state, length=scan)[0], state.failed

    def take(number):
        nonlocal state
        for _ in range(max(1, number // max(1, scan))):
            state, _ = (many if scan else step)(state, on_device, order)
        jax.block_until_ready(state)

    return take


def bare(method, batch=4096, examples=50_000, classes=10):
    """Losses, their gradient by the logits and the method's state, without a network."""
    config = digits.get_config()
    config.loss.method = method
    task = methods.Task(examples, classes, 1000, lambda: np.full((classes,) * 2, 0.6 / classes)
                        + 0.4 * np.eye(classes))  # fmt: skip
    transform = methods.create(config.loss, task)
    rng = np.random.default_rng(0)
    shape = (2, batch, classes) if methods.networks(config.loss) == 2 else (batch, classes)
    logits = jax.device_put(rng.normal(size=shape).astype(np.float32))
    labels = jax.device_put(rng.integers(0, classes, batch, np.int32))
    index = jax.device_put(rng.permutation(examples)[:batch].astype(np.int32))

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state, logits):
        def objective(logits):
            losses = one_step.cross_entropy(logits, labels)
            inputs = {"logits": logits, "labels": labels, "index": index}
            losses, new = transform.update(losses, state, **inputs)
            return losses.mean(axis=-1).sum(), new

        return jax.grad(objective, has_aux=True)(logits)

    state = transform.init()

    def take(number):
        nonlocal state
        for _ in range(number):
            gradient, state = step(state, logits)
        jax.block_until_ready((gradient, state))

    return take


CASES = {
    "lenet 128": (lambda: step_of("lenet", 128), 20),
    "lenet 128, plain": (lambda: step_of("plain_lenet", 128), 10),
    "lenet 128, scan": (lambda: step_of("lenet", 128, scan=10), 20),
    "lenet 128, crop": (lambda: step_of("lenet", 128, crop=True), 20),
    "lenet 128, superloss": (lambda: step_of("lenet", 128, method="superloss"), 20),
    "lenet 512": (lambda: step_of("lenet", 512), 5),
    "lenet 512, plain": (lambda: step_of("plain_lenet", 512), 3),
    "convnet 64": (lambda: step_of("convnet", 64), 3),
    "convnet 64, plain": (lambda: step_of("plain_convnet", 64), 3),
    "convnet 64, scan": (lambda: step_of("convnet", 64, scan=3), 3),
    "resnet18 8": (lambda: step_of("resnet18", 8), 3),
    "resnet18 8, superloss": (lambda: step_of("resnet18", 8, method="superloss"), 3),
    "lenet 50, crop": (lambda: step_of("lenet", 50, crop=True), 100),
}
CASES |= {
    f"lenet 128, {name}": (functools.partial(step_of, "lenet", 128, method=name), 10)
    for name in methods.METHODS
}
CASES |= {f"bare 4096, {name}": (functools.partial(bare, name), 100) for name in methods.METHODS}
made = {}
for line in sys.stdin:
    name = line.strip()
    make, number = CASES[name]
    if name not in made:
        made[name] = make()
        made[name](number)
    cpu, wall = time.process_time(), time.perf_counter()
    made[name](number)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    answer = {"cpu": cpu / number, "wall": wall / number, "version": jax.__version__}
    print(json.dumps(answer), flush=True)
