"""The training program: one state, one step, one loop. Read it from top to bottom."""

import functools
import hashlib
import time
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import data, methods, models, workdir
from experiments.choices import choose, positive, seed, within
from experiments.progress import console, progress_line
from superloss_jax import LossTransform


class TrainState(NamedTuple):
    """All that training changes, and the seed of all that it draws."""

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    loss_state: Any
    seed: jax.Array


class TrainData(NamedTuple):
    """The training set on the device; an argument of the step, never a constant in its program."""

    images: jax.Array
    labels: jax.Array  # what the model is trained on
    wrong: jax.Array  # where they differ from the clean ones; for the metrics alone


class Run(NamedTuple):
    """What a config means; built, and thereby checked, before anything is trained."""

    model: nn.Module
    optimizer: optax.GradientTransformation
    method: LossTransform
    dataset: data.Dataset
    noisy_labels: np.ndarray


# --- Keys and order: pure functions of (seed, epoch, step). ---------------------------------------

INIT, ORDER, DROPOUT = range(3)


def key_for(seed, purpose: int, number=0):
    key = jax.random.key(seed, impl="threefry2x32")
    return jax.random.fold_in(jax.random.fold_in(key, purpose), number)


@functools.partial(jax.jit, static_argnames=("size", "batch_size"))
def epoch_order(seed, epoch, size: int, batch_size: int):
    """Every index once, as (steps, batch_size); the last batch is padded with -1."""
    # Sorting raw bits gives one order on every platform, with x64 on or off.
    with jax.threefry_partitionable(True):
        bits = jax.random.bits(key_for(seed, ORDER, epoch), (size,), jnp.uint32)
    order = jnp.argsort(bits).astype(jnp.int32)
    return jnp.pad(order, (0, -size % batch_size), constant_values=-1).reshape(-1, batch_size)


# --- One step. ------------------------------------------------------------------------------------

GROUPS = ("all", "clean", "wrong")
QUANTITIES = ("count", "loss", "accuracy", "sigma")


def init_state(run: Run, seed: int) -> TrainState:
    @jax.jit  # one program to compile, not one for each operation
    def init(seed):
        images = jnp.zeros((1, *run.dataset.train_images.shape[1:]))
        variables = run.model.init(key_for(seed, INIT), images, train=False)
        params = variables["params"]
        return TrainState(
            step=jnp.int32(0),
            params=params,
            batch_stats=variables.get("batch_stats", {}),
            opt_state=run.optimizer.init(params),
            loss_state=run.method.init(),
            seed=seed,
        )

    return init(jnp.int32(seed))


def normalise(images, dataset: data.Dataset):
    """uint8 images to float32, by the data set's mean and standard deviation of each channel."""
    shape = (1, 1, 1, -1)  # explicit, for users who forbid rank promotion
    mean, std = (np.array(v, np.float32).reshape(shape) for v in (dataset.mean, dataset.std))
    return (images.astype(jnp.float32) - mean) / std


def make_train_step(run: Run):
    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def train_step(state: TrainState, sums, train: TrainData, order):
        """One optimizer step on batch `step % steps` of the epoch; `sums` collects its metrics."""
        index = order[state.step % order.shape[0]]
        where = index >= 0
        images, labels, wrong = (array[index] for array in train)
        images = normalise(images, run.dataset)

        def objective(params):
            logits, updated = run.model.apply(
                {"params": params, "batch_stats": state.batch_stats},
                images,
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": key_for(state.seed, DROPOUT, state.step)},
            )
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            robust, loss_state = run.method.update(losses, state.loss_state, where=where)
            aux = losses, logits, loss_state, updated.get("batch_stats", {})
            return jnp.mean(robust, where=where), aux

        grads, (losses, logits, loss_state, batch_stats) = jax.grad(objective, has_aux=True)(
            state.params
        )
        updates, opt_state = run.optimizer.update(grads, state.opt_state, state.params)

        # sigma is the weight that the method gives a sample: the derivative of its loss. The
        # compiler merges it with the one that is in the gradient.
        def total(losses):
            return jnp.sum(run.method.update(losses, state.loss_state, where=where)[0])

        right = logits.argmax(-1) == labels
        values = jnp.stack([jnp.ones_like(losses), losses, right, jax.grad(total)(losses)])
        groups = jnp.stack([where, where & ~wrong, where & wrong])
        sums += jnp.sum(jnp.where(groups[:, None], values, 0), axis=-1)
        state = TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            opt_state=opt_state,
            loss_state=loss_state,
            seed=state.seed,
        )
        return state, sums

    return train_step


def make_evaluate(run: Run, batch_size: int):
    """Returns `evaluate(state, images, labels)`: number of images, sums of loss and of right."""

    @jax.jit
    def batch_sums(params, batch_stats, images, labels, index):
        where = index >= 0
        variables = {"params": params, "batch_stats": batch_stats}
        logits: Any = run.model.apply(variables, normalise(images[index], run.dataset), train=False)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels[index])
        right = logits.argmax(-1) == labels[index]
        values = jnp.stack([jnp.ones_like(losses), losses, right])
        return jnp.sum(jnp.where(where, values, 0), axis=-1)

    def evaluate(state: TrainState, images, labels):
        index = np.arange(len(labels), dtype=np.int32)
        index = np.pad(index, (0, -len(labels) % batch_size), constant_values=-1)
        return sum(
            batch_sums(state.params, state.batch_stats, images, labels, batch)
            for batch in index.reshape(-1, batch_size)
        )

    return evaluate


# --- The run. -------------------------------------------------------------------------------------


def build(config, data_dir: str | None = None) -> Run:
    """Everything that a config names; raises ValueError for what cannot be meant."""
    seed("config.seed", config.seed)
    within("config.epochs", config.epochs, 1, 100_000)
    method = methods.create(**config.loss)
    optimizers = {"adam": optax.adam, "sgd": optax.sgd}
    optimizer = choose("config.optimizer.name", config.optimizer.name, optimizers)
    positive("config.optimizer.learning_rate", config.optimizer.learning_rate)
    choose("config.model.name", config.model.name, models.MODELS)
    data.check_noise(config.data.name, **config.noise)
    dataset = data.load(**config.data, data_dir=data_dir)
    within("config.batch_size", config.batch_size, 1, len(dataset.train_labels))
    num_classes = len(dataset.class_names)
    model = models.create(config.model.name, num_classes, dataset.train_images.shape[1:])
    noisy_labels = data.corrupt(dataset, **config.noise)
    optimizer = optimizer(config.optimizer.learning_rate)
    return Run(model, optimizer, method, dataset, noisy_labels)


def train(config, run: Run, path) -> dict:
    """Trains to the end and returns what it wrote to results.json."""
    device = jax.devices()[0]
    dataset, wrong = run.dataset, run.noisy_labels != run.dataset.train_labels
    console.print(f"device   {device.device_kind} ({device.platform}), jax {jax.__version__}")
    console.print(
        f"data     {dataset.name}: {len(wrong)} training, {len(dataset.test_labels)} test images\n"
        f"noise    {config.noise.kind}, rate {config.noise.rate}: {wrong.mean():.2%} of the"
        " training labels are wrong"
    )
    workdir.write_json(path / workdir.CONFIG, config.to_dict())
    for name in (workdir.METRICS, workdir.TIMING):
        (path / name).write_text("")

    train_data = TrainData(*jax.device_put((dataset.train_images, run.noisy_labels, wrong)))
    test_data = jax.device_put((dataset.test_images, dataset.test_labels))
    state = init_state(run, config.seed)
    train_step, evaluate = make_train_step(run), make_evaluate(run, min(1000, len(test_data[1])))
    steps = -(-len(wrong) // config.batch_size)
    rows: list[dict] = []
    latest = ""
    with progress_line(config.epochs * steps, "compiling") as progress:
        for epoch in range(1, config.epochs + 1):
            start = time.perf_counter()
            order = epoch_order(config.seed, epoch, len(wrong), config.batch_size)
            sums = jnp.zeros((len(GROUPS), len(QUANTITIES)))
            for step in range(steps):
                state, sums = train_step(state, sums, train_data, order)
                progress((epoch - 1) * steps + step, f"epoch {epoch}/{config.epochs}{latest}")
            row = epoch_row(epoch, sums, evaluate(state, *test_data), state.loss_state)
            seconds = time.perf_counter() - start
            rows.append(row)
            workdir.append_row(path / workdir.METRICS, row)
            rate = {"epoch": epoch, "seconds": seconds, "images_per_second": len(wrong) / seconds}
            workdir.append_row(path / workdir.TIMING, rate)
            latest = (
                f"  loss {row['train_loss']:.3f}  test {row['test_accuracy']:.1%}"
                f"  {rate['images_per_second']:,.0f} images/s"
            )
            progress(epoch * steps, f"epoch {epoch}/{config.epochs}{latest}")
            if not np.isfinite(row["train_loss"]):
                raise FloatingPointError(f"training loss {row['train_loss']} in epoch {epoch}")
    results = summary(config, run, rows, state)
    workdir.write_json(path / workdir.RESULTS, results)
    return results


def epoch_row(epoch: int, sums, test_sums, loss_state) -> dict:
    """One row of metrics.jsonl; train metrics are averages over the epoch, as it was trained."""
    sums, test_sums = np.asarray(sums, np.float64), np.asarray(test_sums, np.float64)
    with np.errstate(invalid="ignore"):  # a group may be empty
        means = dict(zip(GROUPS, sums[:, 1:] / sums[:, :1], strict=True))
    row = {"train_loss": means["all"][0], "train_accuracy": means["all"][1]}
    for group in ("clean", "wrong"):
        names = (f"{name}_{group}" for name in QUANTITIES[1:])
        row |= dict(zip(names, means[group], strict=True))
    test_loss, test_accuracy = test_sums[1:] / test_sums[0]
    row |= {"tau": getattr(loss_state, "tau", np.nan)}
    row |= {"test_loss": test_loss, "test_accuracy": test_accuracy}
    return {"epoch": epoch} | {key: float(value) for key, value in row.items()}


def summary(config, run: Run, rows: list[dict], state: TrainState) -> dict:
    """A pure function of config, versions and platform: no time, no host, no path."""
    accuracies = [row["test_accuracy"] for row in rows]
    wrong = run.noisy_labels != run.dataset.train_labels
    return {
        "config": config.to_dict(),
        "versions": workdir.versions(),
        "platform": jax.devices()[0].device_kind,
        "x64": bool(jax.config.read("jax_enable_x64")),
        "num_params": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        "noise": {
            "convention": config.noise.kind,
            "realised_rate": float(wrong.mean()),
            "labels_sha256": hashlib.sha256(run.noisy_labels.astype("<i4").tobytes()).hexdigest(),
        },
        "test_accuracy": {
            "last": accuracies[-1],
            "mean_of_last_10": float(np.mean(accuracies[-10:])),
        },
        "last_epoch": rows[-1],
    }
