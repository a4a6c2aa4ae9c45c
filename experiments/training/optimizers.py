"""Optimizers and learning rate schedules that a config can name."""

import optax

from experiments.checks import choose, positive, within


def schedule(name, learning_rate, warmup_epochs, boundaries, factor, *, epochs, steps_per_epoch):
    """constant; piecewise: times `factor` after each epoch of `boundaries`; cosine down to 0;
    cyclic: from epoch to epoch down to `factor` times as much, then anew, in cycles of
    `boundaries[0]` epochs (Jinchi Huang et al., "O2U-Net", ICCV 2019).

    Each after a linear rise over `warmup_epochs`.
    """
    positive("config.optimizer.learning_rate", learning_rate)
    within("config.optimizer.warmup_epochs", warmup_epochs, 0, epochs)
    warmup = round(warmup_epochs * steps_per_epoch)
    total = epochs * steps_per_epoch
    if name == "piecewise":
        positive("config.optimizer.factor", factor)
        if not boundaries or list(boundaries) != sorted({*boundaries}) or boundaries[0] <= 0:
            raise ValueError(
                f"config.optimizer.boundaries: expected rising epochs, got {boundaries!r}"
            )
        scales = {round(epoch * steps_per_epoch) - warmup: factor for epoch in boundaries}
        after = optax.piecewise_constant_schedule(learning_rate, scales)
    elif name == "cosine":
        after = optax.cosine_decay_schedule(learning_rate, max(1, total - warmup))
    elif name == "cyclic":
        positive("config.optimizer.factor", factor)
        within("config.optimizer.boundaries", boundaries[0] if boundaries else 0, 1, epochs)

        def after(step):
            part = (1 + step // steps_per_epoch % boundaries[0]) / boundaries[0]
            return learning_rate * (1 - part + part * factor)

    else:
        names = ("constant", "piecewise", "cosine", "cyclic")
        choose("config.optimizer.schedule", name, dict.fromkeys(names))
        after = optax.constant_schedule(learning_rate)
    if not warmup:
        return after
    rise = optax.linear_schedule(learning_rate / warmup, learning_rate, warmup - 1)
    return optax.join_schedules([rise, after], [warmup])


def create(
    name: str,
    *,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
    schedule: optax.Schedule,
) -> optax.GradientTransformation:
    """`weight_decay` enters the gradient of all parameters, as in PyTorch; adamw's stays apart."""
    within("config.optimizer.momentum", momentum, 0, 1)
    within("config.optimizer.weight_decay", weight_decay, 0, 10)
    optimizers = {
        "adam": optax.adam(schedule),
        "adamw": optax.adamw(schedule, weight_decay=weight_decay),
        "sgd": optax.sgd(schedule, momentum=momentum or None, nesterov=nesterov),
    }
    optimizer = choose("config.optimizer.name", name, optimizers)
    if weight_decay and name != "adamw":
        return optax.chain(optax.add_decayed_weights(weight_decay), optimizer)
    return optimizer
