"""Every test sees 8 CPU devices, strict rank promotion, and x64 as JAX_ENABLE_X64 says."""

import os
import shutil
import tempfile

import chex
import jax
import pytest

chex.set_n_cpu_devices(8)
jax.config.update("jax_numpy_rank_promotion", "raise")

# Most of the suite's time is compilation, often of the same program: it is kept for one session,
# and shared by its workers, which inherit the name.
CACHE = os.environ.get("SUPERLOSS_TEST_CACHE") or tempfile.mkdtemp(prefix="superloss_jax_tests_")
os.environ["SUPERLOSS_TEST_CACHE"] = CACHE
os.environ["JAX_COMPILATION_CACHE_DIR"] = CACHE  # for the processes that tests start
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
jax.config.update("jax_compilation_cache_dir", CACHE)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


# Tests of what the program does, most of whose time XLA's optimizations took. All others see what
# users do: the library's ask for last bits, and a resumed run for the same ones.
QUICK = ("batches", "devices", "diagnostics", "models", "seeds", "train")


def is_quick(item) -> bool:
    return item.path.stem.removeprefix("test_") in QUICK


def pytest_collection_modifyitems(items):
    items.sort(key=is_quick)  # so that a worker switches once


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Without most optimizations for a QUICK test; with x64, for none."""
    quick = is_quick(item) and not jax.config.read("jax_enable_x64")
    if jax.config.read("jax_disable_most_optimizations") != quick:
        jax.clear_caches()  # which would hand on what was compiled in the other way
        jax.config.update("jax_disable_most_optimizations", quick)
        os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(quick)  # for processes


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    if not hasattr(session.config, "workerinput"):  # not a worker: the last to end
        shutil.rmtree(CACHE, ignore_errors=True)
