"""Hashes of a user's own files: with another content it is another run."""

import contextlib
import functools
import hashlib
import pathlib
import re

from experiments import checks
from experiments.keys import section
from experiments.runs import identity
from experiments.runs.files import SAMPLES

OWN = ("npz", "folder", "table", "huggingface", "images", "voc_folder", "coco_json")  # at a path


def note(config) -> None:
    """Adds a hash of the user's own data to the config, so that other content is another run.

    A file that cannot be read gets no hash; reading it later reports the error.
    """
    data = section(config, "data")
    named: dict[str, pathlib.Path] = {}
    if data.get("name") in OWN and data.get("path"):
        place = checks.path("config.data.path", data.path)
        in_voc = data.get("name") == "voc_folder"  # its images change nothing if these do not
        named["sha256"] = place / "Annotations" if in_voc else place
    if data.get("name") == "listed" and data.get("train_list"):
        named["sha256"] = checks.path("config.data.train_list", data.train_list)
    if data.get("exclude"):  # the samples of another run, which may be trained anew
        named["exclude_sha256"] = checks.path("config.data.exclude", data.exclude) / SAMPLES
    for key in ("test_path", "corrections", "noise_matrix"):
        if data.get(key):
            name = f"{key.removesuffix('_path')}_sha256"
            named[name] = checks.path(f"config.data.{key}", data[key])
    for key, path in named.items():
        add(config, data, key, path)
    own = section(config, "curriculum")
    if own.get("difficulty"):
        path = difficulty(config)
        add(config, own, "difficulty_sha256", path / SAMPLES if path.is_dir() else path)
    own = section(section(config, "loss"), "learned_mentornet")
    if own.get("path"):
        add(config, own, "sha256", checks.path("config.loss.learned_mentornet.path", own.path))


def difficulty(config) -> pathlib.Path:
    """Returns the path that `config.curriculum.difficulty` names; {seed} in it is the run's seed.

    So is any other key, so that each run of a sweep has a teacher of its own.

    Raises:
      ValueError: if the config has no such key.
    """
    known, text = identity.flattened(config.to_dict()), config.curriculum.difficulty
    for key in re.findall(r"{([\w.]+)}", text):
        if key not in known:
            raise ValueError(f"config.curriculum.difficulty: {text}: this run reads no key {key!r}")
        text = text.replace(f"{{{key}}}", str(known[key]))
    return checks.path("config.curriculum.difficulty", text)


def add(config, section, key: str, path: pathlib.Path) -> None:
    with contextlib.suppress(OSError), config.unlocked():
        section[key] = content(path, path.stat().st_size, path.stat().st_mtime_ns)


@functools.lru_cache
def content(path: pathlib.Path, size: int, changed: int) -> str:
    if not path.is_dir():
        return _digest(path)[:16]
    below = sorted(one for one in path.rglob("*") if one.is_file())
    listed = [(one.relative_to(path).as_posix(), _digest(one)) for one in below]
    return hashlib.sha256(repr(listed).encode()).hexdigest()[:16]


def _digest(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
