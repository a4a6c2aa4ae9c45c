"""Every test sees 8 CPU devices, strict rank promotion, and x64 as JAX_ENABLE_X64 says."""

import os
import pathlib

import chex
import jax
import pytest

from experiments import cache

chex.set_n_cpu_devices(8)
jax.config.update("jax_numpy_rank_promotion", "raise")

# Most of the suite's time is compilation, of the same programs each time: they are kept, also for
# the processes that tests start. A cache of the user's own is used as it is.
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

# Tests of what the program does, most of whose time XLA's optimizations took. All others see what
# users do: the library's ask for last bits, and a resumed run for the same ones.
QUICK = ("batches", "devices", "diagnostics", "models", "seeds", "train", "tasks")


def is_quick(item) -> bool:
    return item.path.stem.removeprefix("test_") in QUICK


def pytest_collection_modifyitems(config, items):
    """With x64, of the program's tests, those that ask for it: see `x64` in pyproject.toml."""
    items.sort(key=is_quick)  # so that a worker switches once
    if X64:
        left = [item for item in items if PROGRAM in item.path.parents]
        left = [item for item in left if not item.get_closest_marker("x64")]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in {*left}]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Without most optimizations for a QUICK test; with x64, for none."""
    quick = is_quick(item) and not X64
    if jax.config.read("jax_disable_most_optimizations") != quick:
        jax.clear_caches()  # which would hand on what was compiled in the other way
        jax.config.update("jax_disable_most_optimizations", quick)
        os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(quick)  # for processes
