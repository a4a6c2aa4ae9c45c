"""What a kind of problem decides: `config.task` names one of TASKS, or a user's "module:name"."""

import importlib
from typing import Any

from experiments.checks import choose
from experiments.tasks.scores import SCORES, Score

TASKS = {"classification": "experiments.tasks.classification:task"}
DEFAULT = "classification"  # of configs that name no task


def task_of(config) -> Any:
    """The `Task` of a config.

    Raises:
      ValueError: if there is none of that name.
    """
    from experiments.tasks.base import Task

    name = config.get("task", DEFAULT)
    place = name if ":" in name else choose("config.task", name, TASKS)
    module, _, attribute = place.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"config.task: cannot import {name}: {error}") from None
    if not isinstance(found, Task):
        raise ValueError(f"config.task: expected {name} to be a Task, got {found!r}")
    return found


def score_of(config) -> Score:
    """How a run of this config is judged; of the tasks here, without importing JAX."""
    name = config.get("task", DEFAULT)
    return SCORES[name] if name in SCORES else task_of(config).score
