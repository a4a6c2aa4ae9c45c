"""The training program: one state, one step, one loop. Read it from top to bottom."""

import functools
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import batches, data, keys, methods, models, optimizers, workdir
from experiments.batches import Augment, TrainData, epoch_order
from experiments.choices import choose, seed, within
from experiments.progress import console, progress_line
from experiments.stream import fits, stream
from superloss_jax import LossTransform


class TrainState(NamedTuple):
    """All that training changes, and the seed of all that it draws."""

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    loss_state: Any
    seed: jax.Array


class Run(NamedTuple):
    """What a config means; built, and thereby checked, before anything is trained."""

    model: nn.Module
    torch_init: bool
    optimizer: optax.GradientTransformation
    method: LossTransform
    dataset: data.Dataset
    augment: Augment
    labels_sha256: str


# --- One step. ------------------------------------------------------------------------------------

GROUPS = ("all", "clean", "wrong")
EVALUATION_BATCH = 1000
QUANTITIES = ("count", "loss", "accuracy", "sigma")


def init_state(run: Run, seed: int) -> TrainState:
    @jax.jit  # one program to compile, not one for each operation
    def init(seed):
        images = jnp.zeros((1, *run.dataset.train.images.shape[1:]))
        variables = run.model.init(keys.key_for(seed, keys.INIT), images, train=False)
        params = variables["params"]
        if run.torch_init:
            params = models.torch_init(params, keys.key_for(seed, keys.INIT, 1))
        return TrainState(
            step=jnp.int32(0),
            params=params,
            batch_stats=variables.get("batch_stats", {}),
            opt_state=run.optimizer.init(params),
            loss_state=run.method.init(),
            seed=seed,
        )

    return init(jnp.int32(seed))


def make_train_step(run: Run):
    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def train_step(state: TrainState, sums, train: TrainData, order):
        """One optimizer step on batch `step % steps` of the epoch; `sums` collects its metrics."""
        rows = order[state.step % order.shape[0]]
        where = rows >= 0
        images = batches.draw(train.images, rows, run.dataset, run.augment, state.seed, state.step)
        labels, clean_labels = train.labels[rows], train.clean_labels[rows]

        def objective(params):
            logits, updated = run.model.apply(
                {"params": params, "batch_stats": state.batch_stats},
                images,
                train=True,
                mask=where,
                mutable=["batch_stats"],
                rngs={"dropout": keys.key_for(state.seed, keys.DROPOUT, state.step)},
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
        clean, known = labels == clean_labels, clean_labels >= 0
        groups = jnp.stack([where, where & clean, where & known & ~clean])
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
        images = batches.normalise(images[index], run.dataset)
        logits: Any = run.model.apply(variables, images, train=False)
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
    make_optimizer(config, steps_per_epoch=1)  # refuses what is wrong before data is read
    choose("config.model.name", config.model.name, models.MODELS)
    data.check_noise(config.data.name, **config.noise)
    dataset, labels_sha256 = data.build(config.data, config.noise, data_dir)
    image_shape = dataset.train.images.shape[1:]
    augment = batches.augment(image_shape, **config.augment)
    within("config.data.device_budget_mb", config.data.device_budget_mb, 0, float("inf"))
    within("config.batch_size", config.batch_size, 1, len(dataset.train.labels))
    model = models.create(
        **config.model, num_classes=len(dataset.class_names), image_shape=image_shape
    )
    optimizer = make_optimizer(config, -(-len(dataset.train.labels) // config.batch_size))
    return Run(
        model, config.model.init == "torch", optimizer, method, dataset, augment, labels_sha256
    )


def make_optimizer(config, steps_per_epoch: int) -> optax.GradientTransformation:
    values = dict(config.optimizer)
    names = ("learning_rate", "warmup_epochs", "boundaries", "factor")
    schedule = optimizers.schedule(
        values.pop("schedule"),
        **{name: values.pop(name) for name in names},
        epochs=config.epochs,
        steps_per_epoch=steps_per_epoch,
    )
    return optimizers.create(**values, schedule=schedule)


def epoch_steps(host: TrainData, resident: TrainData | None, order) -> Iterator:
    """The (TrainData, order) of each step of an epoch; `resident` is the data set on the device."""
    if resident is None:
        yield from stream(host, np.asarray(order))
    else:
        yield from ((resident, order) for _ in order)


def train(config, run: Run, path) -> dict:
    """Trains to the end and returns what it wrote to results.json."""
    device, dataset = jax.devices()[0], run.dataset
    console.print(f"device   {device.device_kind} ({device.platform}), jax {jax.__version__}")
    data.describe(dataset, config.noise)
    workdir.write_json(path / workdir.CONFIG, config.to_dict())
    for name in (workdir.METRICS, workdir.TIMING):
        (path / name).write_text("")

    host = batches.train_data(dataset.train, run.augment)
    resident = jax.device_put(host) if fits(host, config.data.device_budget_mb) else None
    held_out = {
        part: jax.device_put((examples.images, examples.labels))
        for part, examples in (("validation", dataset.validation), ("test", dataset.test))
        if len(examples.labels)
    }
    state = init_state(run, config.seed)
    train_step, evaluate = make_train_step(run), make_evaluate(run, EVALUATION_BATCH)
    size = len(host.labels)
    steps = -(-size // config.batch_size)
    rows: list[dict] = []
    latest = ""
    with progress_line(config.epochs * steps, "compiling") as progress:
        for epoch in range(1, config.epochs + 1):
            start = time.perf_counter()
            order = epoch_order(config.seed, epoch, size, config.batch_size)
            sums = jnp.zeros((len(GROUPS), len(QUANTITIES)))
            for step, batch in enumerate(epoch_steps(host, resident, order)):
                state, sums = train_step(state, sums, *batch)
                progress((epoch - 1) * steps + step, f"epoch {epoch}/{config.epochs}{latest}")
            evaluated = {part: evaluate(state, *held_out[part]) for part in held_out}
            row = epoch_row(epoch, sums, evaluated, state.loss_state)
            seconds = time.perf_counter() - start
            rows.append(row)
            workdir.append_row(path / workdir.METRICS, row)
            rate = {"epoch": epoch, "seconds": seconds, "images_per_second": size / seconds}
            workdir.append_row(path / workdir.TIMING, rate)
            latest = (
                f"  loss {row['train_loss']:.3f}  test {row.get('test_accuracy', np.nan):.1%}"
                f"  {rate['images_per_second']:,.0f} images/s"
            )
            progress(epoch * steps, f"epoch {epoch}/{config.epochs}{latest}")
            if not np.isfinite(row["train_loss"]):
                raise FloatingPointError(f"training loss {row['train_loss']} in epoch {epoch}")
    results = summary(config, run, rows, state)
    workdir.write_json(path / workdir.RESULTS, results)
    return results


def epoch_row(epoch: int, sums, evaluated, loss_state) -> dict:
    """One row of metrics.jsonl; train metrics are averages over the epoch, as it was trained."""
    sums, evaluated = jax.tree.map(lambda x: np.asarray(x, np.float64), (sums, evaluated))
    with np.errstate(invalid="ignore"):  # a group may be empty
        means = dict(zip(GROUPS, sums[:, 1:] / sums[:, :1], strict=True))
        held_out = {part: total[1:] / total[0] for part, total in evaluated.items()}
    row = {"train_loss": means["all"][0], "train_accuracy": means["all"][1]}
    for group in ("clean", "wrong"):
        names = (f"{name}_{group}" for name in QUANTITIES[1:])
        row |= dict(zip(names, means[group], strict=True))
    row |= {"tau": getattr(loss_state, "tau", np.nan)}
    for part, (loss, accuracy) in held_out.items():
        row |= {f"{part}_loss": loss, f"{part}_accuracy": accuracy}
    return {"epoch": epoch} | {key: float(value) for key, value in row.items()}


def summary(config, run: Run, rows: list[dict], state: TrainState) -> dict:
    """A pure function of config, versions and platform: no time, no host, no path."""
    accuracy = {}
    if len(run.dataset.test.labels):
        test = [row["test_accuracy"] for row in rows]
        accuracy = {"last": test[-1], "mean_of_last_10": float(np.mean(test[-10:]))}
        if len(run.dataset.validation.labels):
            best = int(
                np.argmax([row["validation_accuracy"] for row in rows])
            )  # the first of equals
            accuracy |= {"best_validation": test[best], "best_epoch": rows[best]["epoch"]}
    return {
        "config": config.to_dict(),
        "versions": workdir.versions(),
        "platform": jax.devices()[0].device_kind,
        "x64": bool(jax.config.read("jax_enable_x64")),
        "num_params": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        "noise": {
            "convention": config.noise.kind,
            "realised_rate": data.realised_rate(run.dataset.train),
            "labels_sha256": run.labels_sha256,
        },
        "test_accuracy": accuracy,
        "last_epoch": rows[-1],
    }
