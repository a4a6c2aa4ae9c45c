"""The optimizers and learning rate schedules that a config can name."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from experiments.checks import choose, positive, within


def make(own, epochs: int, steps_per_epoch: int) -> optax.GradientTransformationExtraArgs:
    """Builds the optimizer of `config.optimizer`, and reads only the keys that it needs.

    With `sam`, `update` needs `grad_fn(params, i)`, the gradients of the same batch elsewhere.

    `weight_decay` and `l1` are added to the gradients of all parameters, as in PyTorch. For adamw
    weight decay is decoupled. `clip` bounds the norm before weight decay is added, as there.
    """
    rate = schedule(own, epochs, steps_per_epoch)
    within("config.optimizer.weight_decay", own.weight_decay, 0, 10)
    optimizers: dict[str, Callable[[], optax.GradientTransformation]] = {
        "adam": lambda: optax.adam(rate),
        "adamw": lambda: optax.adamw(rate, weight_decay=own.weight_decay),
        "sgd": lambda: sgd(own, rate),
    }
    optimizer = choose("config.optimizer.name", own.name, optimizers)()
    parts = [optimizer]
    if own.weight_decay and own.name != "adamw":
        parts.insert(0, optax.add_decayed_weights(own.weight_decay))
    clip = own.get("clip", 0.0)
    within("config.optimizer.clip", clip, 0, 1e6)
    if clip:
        parts.insert(0, optax.clip_by_global_norm(clip))
    l1 = own.get("l1", 0.0)
    within("config.optimizer.l1", l1, 0, 10)
    if l1:
        parts.insert(0, add_signs(l1))
    whole = optax.chain(*parts) if len(parts) > 1 else optimizer
    radius = own.get("sam", 0.0)
    within("config.optimizer.sam", radius, 0, 100)
    return sharpness_aware(whole, radius) if radius else optax.with_extra_args_support(whole)


def sharpness_aware(optimizer, radius: float) -> optax.GradientTransformationExtraArgs:
    """Takes the gradient where the loss is highest, to first order, within a radius (SAM).

    Pierre Foret, Ariel Kleiner, Hossein Mobahi, Behnam Neyshabur, "Sharpness-Aware Minimization for
    Efficiently Improving Generalization", ICLR 2021.
    """
    uphill = optax.normalize_by_update_norm(scale_factor=-radius, eps=1e-12)
    return optax.contrib.sam(optimizer, uphill, opaque_mode=True)


def add_signs(l1: float) -> optax.GradientTransformation:
    """Adds the gradient of l1 times the sum of the parameters' magnitudes; 0 at a 0."""

    def add(updates, params):
        return jax.tree.map(lambda g, p: g + l1 * jnp.sign(p), updates, params)

    return optax.stateless(add)


def sgd(own, rate: optax.Schedule) -> optax.GradientTransformation:
    within("config.optimizer.momentum", own.momentum, 0, 1)
    return optax.sgd(rate, momentum=own.momentum or None, nesterov=own.nesterov)


def schedule(own, epochs: int, steps_per_epoch: int) -> optax.Schedule:
    """Returns the learning rate as a function of the step. It rises linearly in `warmup_epochs`.

    After that it is:
      constant
      piecewise: multiplied by `factor` at each epoch in `boundaries`
      cosine: decays to 0
      cyclic: falls linearly, epoch by epoch, to `factor` times the learning rate, then starts
        again, in cycles of `boundaries[0]` epochs (Jinchi Huang et al., "O2U-Net", ICCV 2019)
    """
    positive("config.optimizer.learning_rate", own.learning_rate)
    within("config.optimizer.warmup_epochs", own.warmup_epochs, 0, epochs)
    warmup = round(own.warmup_epochs * steps_per_epoch)
    kinds: dict[str, Callable[[], optax.Schedule]] = {
        "constant": lambda: optax.constant_schedule(own.learning_rate),
        "piecewise": lambda: piecewise(own, steps_per_epoch, warmup),
        "cosine": lambda: optax.cosine_decay_schedule(
            own.learning_rate, max(1, epochs * steps_per_epoch - warmup)
        ),
        "cyclic": lambda: cyclic(own, epochs, steps_per_epoch),
    }
    after = choose("config.optimizer.schedule", own.schedule, kinds)()
    if not warmup:
        return after
    rise = optax.linear_schedule(own.learning_rate / warmup, own.learning_rate, warmup - 1)
    return optax.join_schedules([rise, after], [warmup])


def checked_boundaries(own) -> Sequence[float]:
    if not isinstance(own.boundaries, list | tuple):
        said = f"expected a tuple of epochs, got {own.boundaries!r}"
        raise ValueError(f"config.optimizer.boundaries: {said}")
    for epoch in own.boundaries:
        within("config.optimizer.boundaries: an epoch", epoch, 0, 100_000)
    return own.boundaries


def piecewise(own, steps_per_epoch: int, warmup: int) -> optax.Schedule:
    positive("config.optimizer.factor", own.factor)
    epochs = checked_boundaries(own)
    if not epochs or list(epochs) != sorted({*epochs}) or epochs[0] <= 0:
        raise ValueError(f"config.optimizer.boundaries: expected rising epochs, got {epochs!r}")
    scales = {round(epoch * steps_per_epoch) - warmup: own.factor for epoch in epochs}
    return optax.piecewise_constant_schedule(own.learning_rate, scales)


def cyclic(own, epochs: int, steps_per_epoch: int) -> optax.Schedule:
    positive("config.optimizer.factor", own.factor)
    length = next(iter(checked_boundaries(own)), 0)
    within("config.optimizer.boundaries", length, 1, epochs)

    def at(step):
        part = (1 + step // steps_per_epoch % length) / length
        return own.learning_rate * (1 - part + part * own.factor)

    return at
