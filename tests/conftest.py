"""Sets up all tests: 8 CPU devices, strict rank promotion, and x64 if JAX_ENABLE_X64 is set."""

import os
import pathlib

import chex
import jax
import pytest

from experiments import cache

chex.set_n_cpu_devices(8)
jax.config.update("jax_numpy_rank_promotion", "raise")

# Most of the suite's time is spent compiling the same programs, so they are cached, also for the
# processes that tests start. If the user has set a cache, it is used instead.
COMPILED = {
    "JAX_COMPILATION_CACHE_DIR": str(cache.folder() / "compiled_tests"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
for name, value in COMPILED.items():
    os.environ.setdefault(name, value)
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

X64 = bool(jax.config.read("jax_enable_x64"))
PROGRAM = pathlib.Path(__file__).parent / "program"

# These tests of the program spend most of their time on XLA's optimizations, so they run without.
# All others use the same optimizations as users: tests of the library check the last bits, and
# tests of checkpoints need bit-identical results.
QUICK = (
    "batches", "boxes", "class_shares", "detection", "detection_report", "detection_runs",
    "devices", "diagnostics", "divide_mix", "easy_anchors", "folder", "guessed_memory", "held_out",
    "mean_teacher", "mentornet", "models", "optimizers", "own_parts", "own_table", "regression",
    "regression_report", "retrieval", "retrieval_data", "retrieval_report", "retrieval_runs",
    "seeds", "semi_supervised", "semi_supervised_runs", "strong", "suspects", "tasks", "train",
    "tried_forms",
)  # fmt: skip


def is_quick(item) -> bool:
    return item.path.stem.removeprefix("test_") in QUICK


def pytest_collection_modifyitems(config, items):
    """With x64, deselects the program's tests that lack the marker `x64` (see pyproject.toml)."""
    items.sort(key=is_quick)  # so that each worker changes the optimization level only once
    if X64:
        left = [item for item in items if PROGRAM in item.path.parents]
        left = [item for item in left if not item.get_closest_marker("x64")]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in {*left}]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Disables most optimizations for QUICK tests, except with x64."""
    quick = is_quick(item) and not X64
    if jax.config.read("jax_disable_most_optimizations") != quick:
        jax.clear_caches()  # they hold programs compiled at the other level
        jax.config.update("jax_disable_most_optimizations", quick)
        os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(quick)  # for child processes
