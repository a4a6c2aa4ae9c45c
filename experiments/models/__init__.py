"""The Flax Linen models that a config can name."""
