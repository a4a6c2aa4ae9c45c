"""What a user may write, read by strict mypy and basedpyright in test_types.py; never run.

Each mistake has an ignore comment of both. An ignore that is not needed is an error, too.
"""

from typing import Any, NamedTuple, assert_type

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from superloss_jax import (
    LossTransform,
    Schedule,
    StepState,
    SuperLossState,
    Threshold,
    chain,
    constant,
    memory,
    pairs,
    per_class,
    robust,
    superloss,
)


class TrainState(NamedTuple):
    params: jax.Array
    loss: SuperLossState


transform = superloss(lam=0.5, threshold=per_class(10))
assert_type(transform, LossTransform[SuperLossState])


@jax.jit
def train_step(state: TrainState, images: jax.Array, labels: jax.Array) -> TrainState:
    def objective(params: jax.Array) -> tuple[jax.Array, SuperLossState]:
        losses = -jax.nn.log_softmax(images @ params)[jnp.arange(len(labels)), labels]
        values, new = transform.update(losses, state.loss, where=labels >= 0, labels=labels)
        assert_type(values, jax.Array)
        assert_type(new, SuperLossState)
        return values.mean(), new

    grads, loss = jax.grad(objective, has_aux=True)(state.params)
    return TrainState(state.params - 0.1 * grads, loss)


def falling(step: jax.Array) -> jax.Array:
    return 1 / (1 + step)


schedule: Schedule = falling
threshold: Threshold = constant(2.3)
scheduled = superloss(lam=falling, threshold=threshold, axis_name="data")
assert_type(scheduled.init(), SuperLossState)
assert_type(threshold.init(), SuperLossState)
assert_type(pairs.co_teaching(keep=0.5).init(), StepState)
assert_type(robust.generalized_cross_entropy(q=0.7), LossTransform[tuple[()]])
assert_type(memory.loss_memory(num_examples=5).init(), memory.LossMemoryState)
both = chain(robust.focal(), transform)
assert_type(both, LossTransform[tuple[Any, ...]])


def own_update(
    losses: ArrayLike, state: tuple[()], *, where: ArrayLike | None = None, **inputs: Any
) -> tuple[jax.Array, tuple[()]]:
    return jnp.asarray(losses) * 2, state


own: LossTransform[tuple[()]] = LossTransform(lambda: (), own_update)

losses = jnp.ones(3)
start = transform.init()
transform.update(losses, start, mask=losses > 0)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
transform.update(losses)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
transform.update(losses, None)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
transform.update(losses, transform.init)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
transform.update(start, losses)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
transform.init(losses)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
superloss(0.5)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
superloss(threshold="ema")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
superloss(lambda_=1.0)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
chain(superloss)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
pairs.co_teaching(keep=0.5).update(losses, start)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
