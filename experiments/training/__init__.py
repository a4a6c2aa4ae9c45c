"""Trains models: from a config to a finished run."""
