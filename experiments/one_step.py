"""One training step, and evaluation: pure functions of a state and a batch."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import batches, devices, keys, models
from experiments.batches import TrainData
from experiments.results import GROUPS, QUANTITIES
from experiments.setup import Run


class TrainState(NamedTuple):
    """All that training changes, and the seed of all that it draws."""

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    loss_state: Any
    sums: jax.Array  # of this epoch's metrics: (groups, quantities)
    seed: jax.Array
    failed: jax.Array  # whether a loss or a gradient was not finite; then nothing changes any more


def init_state(run: Run, seed: int) -> TrainState:
    @functools.partial(jax.jit, out_shardings=run.layout.whole)  # one program, not one an operation
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
            sums=jnp.zeros((len(GROUPS), len(QUANTITIES))),
            seed=seed,
            failed=jnp.bool(False),
        )

    return init(np.int32(seed))


def differentiate(run: Run, state: TrainState, train: TrainData, order):
    """Gradients on batch `step % steps` of the epoch, and what else came out of it."""
    rows = order[state.step % order.shape[0]]
    rows = jax.lax.with_sharding_constraint(rows, run.layout.rows)  # each device draws its part
    where = rows >= 0
    images = batches.draw(train.images, rows, run.dataset, run.augment, state.seed, state.step)
    labels = train.labels[rows]

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

    # sigma is the weight that the method gives a sample: the derivative of its loss. The
    # compiler merges it with the one that is in the gradient.
    def total(losses):
        return jnp.sum(run.method.update(losses, state.loss_state, where=where)[0])

    right = logits.argmax(-1) == labels
    values = jnp.stack([jnp.ones_like(losses), losses, right, jax.grad(total)(losses)])
    clean_labels = train.clean_labels[rows]
    clean, known = labels == clean_labels, clean_labels >= 0
    groups = jnp.stack([where, where & clean, where & known & ~clean])
    sums = jnp.sum(jnp.where(groups[:, None], values, 0), axis=-1)
    return grads, losses, where, loss_state, batch_stats, sums


def make_train_step(run: Run):
    @functools.partial(jax.jit, donate_argnums=0, out_shardings=run.layout.whole)
    def train_step(state: TrainState, train: TrainData, order):
        """One optimizer step, and whether this or an earlier one failed."""
        grads, losses, where, loss_state, batch_stats, sums = differentiate(
            run, state, train, order
        )
        updates, opt_state = run.optimizer.update(grads, state.opt_state, state.params)
        finite = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(grads)]
        failed = state.failed | ~(jnp.isfinite(losses) | ~where).all() | ~jnp.stack(finite).all()
        new = TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            opt_state=opt_state,
            loss_state=loss_state,
            sums=state.sums + sums,
            seed=state.seed,
            failed=failed,
        )
        # Steps that are dispatched before the host sees a failure keep the last good state.
        kept = jax.tree.map(functools.partial(jnp.where, failed), state, new)
        return kept._replace(failed=failed), failed

    return train_step


EVALUATION_BATCH = 1000


def make_evaluate(run: Run, over_seeds: bool = False):
    """Returns `evaluate(state, images, labels)`: number of images, sums of loss and of right.

    `over_seeds`: of each state along a leading axis.
    """

    @functools.partial(jax.jit, out_shardings=run.layout.whole)
    def batch_sums(params, batch_stats, images, labels, index):
        index = jax.lax.with_sharding_constraint(index, run.layout.rows)
        variables = {"params": params, "batch_stats": batch_stats}
        images = batches.normalise(images[index], run.dataset)
        logits: Any = run.model.apply(variables, images, train=False)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels[index])
        right = logits.argmax(-1) == labels[index]
        values = jnp.stack([jnp.ones_like(losses), losses, right])
        return jnp.sum(jnp.where(index >= 0, values, 0), axis=-1)

    if over_seeds:
        batch_sums = jax.jit(jax.vmap(batch_sums, in_axes=(0, 0, None, None, None)))

    def evaluate(state: TrainState, images, labels):
        index = np.arange(len(labels), dtype=np.int32)
        number = devices.size(run.layout)
        batch = -(-min(EVALUATION_BATCH, len(labels)) // number) * number
        index = np.pad(index, (0, -len(labels) % batch), constant_values=-1)
        return sum(
            batch_sums(state.params, state.batch_stats, images, labels, part)
            for part in index.reshape(-1, batch)
        )

    return evaluate
