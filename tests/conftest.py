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


def of_the_program(item) -> bool:
    """Whether a test is of what lies outside of the library."""
    names = vars(getattr(item, "module", pytest)).values()
    return any(getattr(value, "__name__", "").startswith("experiments") for value in names)


def pytest_collection_modifyitems(items):
    items.sort(key=of_the_program)  # so that a worker switches once


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """The program's tests ask what it does, the library's for last bits.

    The former take half the time without most of XLA's optimizations.
    """
    quickly = of_the_program(item)
    if jax.config.values["jax_disable_most_optimizations"] != quickly:
        jax.clear_caches()
        jax.config.update("jax_disable_most_optimizations", quickly)
        os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(quickly)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    if not hasattr(session.config, "workerinput"):  # not a worker: the last to end
        shutil.rmtree(CACHE, ignore_errors=True)
