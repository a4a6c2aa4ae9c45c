"""A batch of losses and a batch of logits, and helpers that apply transforms under jit."""

import jax
import jax.numpy as jnp
import numpy as np

LOSSES = [0.0, 1e-30, 1e-8, 1e-3, 0.3, 0.69, 0.71, 1.0, 3.0, 20.0, 60.0, 1e4]
CLASSES = 5
# A batch with uncertain and certain logits, a tie, and equal logits.
LOGITS = np.array(
    [[0.3, -1.0, 2.0, 0.1, 0.5], [30, 0, -3, 1, 2], [1, 4, 4, 0, -2], [0, 0, 0, 0, 0]], float
)
LABELS = np.array([2, 1, 2, 4])
P = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
ONE_HOT = np.eye(CLASSES)[LABELS]
P_Y = P[np.arange(4), LABELS]


def with_slopes(function, x):
    """Returns a value per example, and the gradient of their sum."""

    def total(x):
        values = function(x)
        return values.astype(jnp.float32).sum(), values

    (_, values), slopes = jax.jit(jax.value_and_grad(total, has_aux=True))(x)
    return np.asarray(values), np.asarray(slopes)


def of_losses(transform, losses, state=()):
    """Returns values and derivatives of a transform that needs only losses."""
    return with_slopes(lambda x: transform.update(x, state)[0], jnp.asarray(losses))


def of_several(transforms, logits=LOGITS, labels=LABELS):
    """Returns values and summed gradients of transforms that use logits and labels, not losses."""
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    losses = jnp.full(labels.shape, 7, logits.dtype)

    def values(x):
        return jnp.stack([t.update(losses, (), logits=x, labels=labels)[0] for t in transforms])

    return with_slopes(values, logits)


def of_logits(transform, logits=LOGITS, labels=LABELS):
    """Returns values and gradients of one transform."""
    values, slopes = of_several([transform], logits, labels)
    return values[0], slopes


def with_all_labels(logits):
    """Pairs every example with every label; logits get shape (examples, classes, classes)."""
    logits = jnp.repeat(jnp.asarray(logits)[:, None], CLASSES, axis=1)
    return logits, jnp.broadcast_to(jnp.arange(CLASSES), logits.shape[:2])
