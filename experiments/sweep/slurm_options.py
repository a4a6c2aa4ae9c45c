"""What a user says of a Slurm job: --slurm=partition=gpu,gres=gpu:1,time=120."""

import re
from typing import Any, NamedTuple

# time in minutes; signal_delay_s before it a run saves and queues again, max_num_timeout times.
NUMBERS = {"time": 120, "signal_delay_s": 90, "max_num_timeout": 100, "cpus_per_task": 1}
OURS = {"array", "chdir", "error", "job_name", "nodes", "ntasks", "open_mode", "output", "requeue",
        "signal", "wrap"}  # fmt: skip


class Options(NamedTuple):
    """What --slurm says: the numbers that are needed here, and what sbatch alone reads."""

    numbers: dict[str, int]
    others: dict[str, str]


def parse(text: str) -> Options:
    """Reads key=value,key=value; a value may have commas.

    Raises:
      ValueError: for another form, a number that cannot be, or a key that is the sweep's own.
    """
    numbers, others = dict(NUMBERS), {}
    for part in re.split(r",(?=[\w-]+=)", text) if text else ():
        key, _, value = part.partition("=")
        key = key.replace("-", "_")
        if not (re.fullmatch("[a-z]\\w*", key) and value):
            raise ValueError(f"--slurm: expected key=value,key=value, got {part!r}")
        if key in OURS:
            raise ValueError(f"--slurm: {key} is set by the sweep, got {part!r}")
        if key not in ("mem_gb", *NUMBERS):
            others[key] = value
        elif not re.fullmatch("0*[1-9][0-9]{0,6}", value):
            raise ValueError(f"--slurm: {key}: expected a whole number from 1, got {value!r}")
        elif key == "mem_gb":
            others["mem"] = f"{value}G"
        else:
            numbers[key] = int(value)
    if 60 * numbers["time"] <= (delay := numbers["signal_delay_s"]):
        raise ValueError(f"--slurm: time: expected more than signal_delay_s, {delay} s, "
                         f"got {numbers['time']} min")  # fmt: skip
    return Options(numbers, others)


def asks_for_gpus(options: Options) -> bool:
    return any(key.startswith("gpus") or (key.startswith(("gres", "tres")) and "gpu" in value)
               for key, value in options.others.items())  # fmt: skip


def parameters(options: Options, parallel: int, name: str) -> dict[str, Any]:
    """The options as submitit takes them."""
    cores = options.numbers["cpus_per_task"]
    return {
        "job_name": name,
        "time": options.numbers["time"],
        "signal_delay_s": options.numbers["signal_delay_s"],
        "cpus_per_task": cores,
        "srun_args": [f"--cpus-per-task={cores}"],  # which srun does not take from sbatch
        "array_parallelism": parallel,
        "additional_parameters": options.others | {"requeue": True},
    }
