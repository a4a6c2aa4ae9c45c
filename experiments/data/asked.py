"""Wrong labels are added to a user's own data only if the command asks for it."""

from experiments.data.sources import OWN


def check_labels(config, overridden: dict) -> None:
    """Raises ValueError if wrong labels would be added to a user's own ones without being asked."""
    asked = {"noise.kind", "noise.rate"} & overridden.keys()
    if "data.name" not in overridden or config.data.name not in OWN or asked:
        return
    if config.noise.kind != "given" and config.noise.rate:
        said = f"this config would make {config.noise.rate:.0%} of your labels wrong"
        raise ValueError(
            f"config.noise.kind: {said}: add --config.noise.kind=given, or"
            f" --config.noise.kind={config.noise.kind} if you want that"
        )
