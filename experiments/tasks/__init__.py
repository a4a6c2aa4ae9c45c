"""Tasks: `config.task` names one of TASKS, or a user's own task as "module:name"."""

from typing import Any

from experiments.checks import choose
from experiments.imported import imported, is_own
from experiments.tasks.scores import SCORES, Score

TASKS = {
    "classification": "experiments.tasks.classification:task",
    "semi_supervised": "experiments.tasks.semi_supervised:task",
    "divide_mix": "experiments.tasks.divide_mix:task",
    "detection": "experiments.tasks.detection:task",
    "regression": "experiments.tasks.regression:task",
    "retrieval": "experiments.tasks.retrieval:task",
}
DEFAULT = "classification"  # for configs that name no task


def task_of(config) -> Any:
    """Returns the `Task` that a config names.

    Raises:
      ValueError: if there is no task of that name.
    """
    from experiments.tasks.base import Task

    name = config.get("task", DEFAULT)
    place = name if is_own(name) else choose("config.task", name, TASKS)
    found = imported("config.task", place)
    if not isinstance(found, Task):
        raise ValueError(f"config.task: expected {name} to be a Task, got {found!r}")
    return found


def score_of(config) -> Score:
    """Returns the score of the config's task. For built-in tasks, it does not import JAX."""
    name = config.get("task", DEFAULT)
    return SCORES[name] if name in SCORES else task_of(config).score
