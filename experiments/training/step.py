"""One training step, and evaluation: pure functions of a state and a batch."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import rng
from experiments.models import images as networks
from experiments.tasks import images as batches
from experiments.tasks.images import TrainData
from experiments.training import devices, methods
from experiments.training.build import Run
from experiments.training.record import GROUPS, QUANTITIES


class Seen(NamedTuple):
    """What each example was when it was last trained on; a row an index, NaN or -1 before."""

    losses: jax.Array
    weights: jax.Array
    predicted: jax.Array


class TrainState(NamedTuple):
    """All that training changes, and the seed of all that it draws."""

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    loss_state: Any
    sums: jax.Array  # of this epoch's metrics: (groups, quantities)
    seen: Seen
    seed: jax.Array
    failed: jax.Array  # whether a loss or a gradient was not finite; then nothing changes any more


def init_state(run: Run, seed: int) -> TrainState:
    size = methods.num_examples(run.dataset)

    @functools.partial(jax.jit, out_shardings=run.layout.whole)  # one program, not one an operation
    def init(seed):
        images = jnp.zeros((1, *run.dataset.train.images.shape[1:]))
        variables = run.model.init(rng.key_for(seed, rng.INIT), images, train=False)
        params = variables["params"]
        if run.torch_init:
            params = networks.torch_init(params, rng.key_for(seed, rng.INIT, 1))
        return TrainState(
            step=jnp.int32(0),
            params=params,
            batch_stats=variables.get("batch_stats", {}),
            opt_state=run.optimizer.init(params),
            loss_state=run.method.init(),
            sums=jnp.zeros((len(GROUPS), len(QUANTITIES))),
            seen=Seen(
                losses=jnp.full(size, jnp.nan),
                weights=jnp.full(size, jnp.nan),
                predicted=jnp.full(size, -1, jnp.int32),
            ),
            seed=seed,
            failed=jnp.bool(False),
        )

    return init(np.int32(seed))


class Outcome(NamedTuple):
    """Of a batch: gradients, the new state of what is not optimized, and what is recorded."""

    grads: Any
    loss_state: Any
    batch_stats: Any
    examples: jax.Array  # their index; beyond the last for padding
    losses: jax.Array  # of two networks, the mean; 0 for padding
    weights: jax.Array
    predicted: jax.Array
    sums: jax.Array


def differentiate(run: Run, state: TrainState, train: TrainData, order) -> Outcome:
    """Gradients on batch `step % steps` of the epoch, and what else came out of it."""
    rows = order[state.step % order.shape[0]]
    rows = jax.lax.with_sharding_constraint(rows, run.layout.rows)  # each device draws its part
    where = rows >= 0
    images = batches.draw(train.images, rows, run.dataset, run.augment, state.seed, state.step)
    labels, index = train.labels[rows], train.indices[rows]
    mix = batches.mixture(rows, run.augment, state.seed, state.step)
    images = batches.mixed(images, mix)

    def objective(params):
        logits, updated = run.model.apply(
            {"params": params, "batch_stats": state.batch_stats},
            images,
            train=True,
            mask=where,
            mutable=["batch_stats"],
            rngs={"dropout": rng.key_for(state.seed, rng.DROPOUT, state.step)},
        )
        losses = cross_entropy(logits, labels)
        if mix is not None:
            part = jnp.broadcast_to(mix.part, losses.shape)
            losses = part * losses + (1 - part) * cross_entropy(logits, labels[mix.partner])
        # What a mixture of two examples is has a loss, but no label.
        inputs = {} if mix else {"logits": logits, "labels": labels, "index": index}
        shared = jnp.broadcast_to(where, losses.shape)
        robust, loss_state = run.method.update(losses, state.loss_state, where=where, **inputs)
        weights = jnp.full_like(losses, jnp.nan)
        if run.weighs:
            weights = methods.weights(run.method, losses, state.loss_state, where, inputs)
        aux = losses, weights, logits, loss_state, updated.get("batch_stats", {})
        # The sum over networks, if there are two: each learns from its own mean.
        return jnp.mean(robust, axis=-1, where=shared).sum(), aux

    grads, (losses, weights, logits, loss_state, batch_stats) = jax.grad(objective, has_aux=True)(
        state.params
    )
    losses, weights = over_networks(losses), over_networks(weights)
    right = over_networks(is_right(logits, labels))
    values = jnp.stack([jnp.ones_like(losses), losses, right, weights])
    clean_labels = train.clean_labels[rows]
    clean, known = labels == clean_labels, clean_labels >= 0
    groups = jnp.stack([where, where & clean, where & known & ~clean])
    return Outcome(
        grads=grads,
        loss_state=loss_state,
        batch_stats=batch_stats,
        examples=jnp.where(where, index, len(state.seen.losses)),
        losses=jnp.where(where, losses, 0),
        weights=weights,
        predicted=logits.sum(axis=tuple(range(logits.ndim - 2))).argmax(-1).astype(jnp.int32),
        sums=jnp.sum(jnp.where(groups[:, None], values, 0), axis=-1),
    )


def cross_entropy(logits, labels):
    """Of shape (batch,), or (networks, batch): networks have the same labels."""
    labels = jnp.broadcast_to(labels, logits.shape[:-1])
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def is_right(logits, labels):
    right = logits.argmax(-1) == jnp.broadcast_to(labels, logits.shape[:-1])
    return right.astype(logits.dtype)


def over_networks(values):
    """Per example, the mean of what several networks have."""
    return values.reshape(-1, values.shape[-1]).mean(axis=0)


def make_train_step(run: Run):
    @functools.partial(jax.jit, donate_argnums=0, out_shardings=run.layout.whole)
    def train_step(state: TrainState, train: TrainData, order):
        """One optimizer step, and whether this or an earlier one failed."""
        out = differentiate(run, state, train, order)
        updates, opt_state = run.optimizer.update(out.grads, state.opt_state, state.params)
        finite = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((out.losses, out.grads))]
        failed = state.failed | ~jnp.stack(finite).all()
        new = TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=out.batch_stats,
            opt_state=opt_state,
            loss_state=out.loss_state,
            sums=state.sums + out.sums,
            seen=state.seen,
            seed=state.seed,
            failed=failed,
        )
        # Steps that are dispatched before the host sees a failure keep the last good state.
        kept = jax.tree.map(functools.partial(jnp.where, failed), state, new)
        # By where it is written, not by a select: one that large would be copied. A mixture is no
        # example.
        nowhere = failed | bool(run.augment.mixup)
        index = jnp.where(nowhere, len(state.seen.losses), out.examples)
        seen = Seen(
            *(
                memory.at[index].set(values.astype(memory.dtype), mode="drop")
                for memory, values in zip(
                    state.seen, (out.losses, out.weights, out.predicted), strict=True
                )
            )
        )
        return kept._replace(failed=failed, seen=seen), failed

    return train_step


EVALUATION_BATCH = 1000


def make_evaluate(run: Run, over_runs: bool = False, axis: int | None = None):
    """Returns `evaluate(state, images, labels)`: number of images, sums of loss and of right.

    `over_runs`: of each state along a leading axis; `axis`: that of images and labels.
    """

    @functools.partial(jax.jit, out_shardings=run.layout.whole)
    def batch_sums(params, batch_stats, images, labels, index):
        index = jax.lax.with_sharding_constraint(index, run.layout.rows)
        variables = {"params": params, "batch_stats": batch_stats}
        images = batches.normalise(images[index], run.dataset)
        logits: Any = run.model.apply(variables, images, train=False)
        losses = over_networks(cross_entropy(logits, labels[index]))
        right = over_networks(is_right(logits, labels[index]))
        values = jnp.stack([jnp.ones_like(losses), losses, right])
        return jnp.sum(jnp.where(index >= 0, values, 0), axis=-1)

    if over_runs:
        batch_sums = jax.jit(jax.vmap(batch_sums, in_axes=(0, 0, axis, axis, None)))

    def evaluate(state: TrainState, images, labels):
        size, number = labels.shape[-1], devices.size(run.layout)
        runs = len(state.step) if over_runs else 1
        batch = -(-min(max(EVALUATION_BATCH // runs, 1), size) // number) * number
        index = np.pad(np.arange(size, dtype=np.int32), (0, -size % batch), constant_values=-1)
        return sum(
            batch_sums(state.params, state.batch_stats, images, labels, part)
            for part in index.reshape(-1, batch)
        )

    return evaluate
