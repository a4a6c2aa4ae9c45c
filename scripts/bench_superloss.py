"""Measures lambertw, SuperLoss and their rivals, in multiples of exp over the same array.

    python -m scripts.bench_superloss             # this library, Halley steps, SciPy on the host
    python -m scripts.bench_superloss --rivals    # also TFP nightly, OTT, PyTorch, FastEstimator,
                                                  # in .venv-rivals and .venv-torch

One core, process CPU time, medians of interleaved rounds. Every case is timed once per round, so
that a busy moment of the machine slows all of them. Prints Markdown tables.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np

from experiments import checks, streams

# One thread, and freed memory is kept, because new pages cost more than the arithmetic.
QUIET = {
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": "1000000000",
    "MALLOC_TRIM_THRESHOLD_": "2000000000",
    "MALLOC_TOP_PAD_": "500000000",
}
SIZES = (128, 4096, 1_000_000)
TAU, LAM = 1.3, 0.8
ROOT = pathlib.Path(__file__).resolve().parent.parent


def measure(cases: dict, rounds: int) -> dict[str, float]:
    """Measures the median process CPU seconds per call of each case."""
    repeats = {}
    for name, run in cases.items():
        run()
        start = time.process_time()
        run()
        repeats[name] = max(1, int(0.01 / max(time.process_time() - start, 1e-6)))
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, run in cases.items():
            start = time.process_time()
            for _ in range(repeats[name]):
                run()
            times[name].append((time.process_time() - start) / repeats[name])
    return {name: statistics.median(values) for name, values in times.items()}


def sample(size: int, dtype) -> np.ndarray:
    """Draws losses like a half-trained classifier's, on both sides of tau and of the clamp."""
    return np.random.default_rng(0).exponential(2.0, size).astype(dtype)


def by_formula(lambertw):
    """Returns SuperLoss as written in papers, differentiated by JAX."""
    import jax
    import jax.numpy as jnp

    def mean(losses):
        beta = (losses - TAU) / LAM
        sigma = jnp.exp(-lambertw(jnp.maximum(-2 / np.e, beta) / 2))
        return jnp.mean((losses - TAU) * sigma + LAM * jnp.log(sigma) ** 2)

    return jax.value_and_grad(mean)


def jax_cases(size: int, dtype) -> dict:
    import jax
    import jax.numpy as jnp
    from scipy import special

    from experiments.figures import halley
    from superloss_jax import closed_form, lambertw

    jax.config.update("jax_enable_x64", dtype == np.float64)
    jax.config.update("jax_cpu_enable_async_dispatch", False)  # run in the calling thread
    losses = jnp.asarray(sample(size, dtype))
    z = jnp.maximum((losses - TAU) / (2 * LAM), -1 / np.e)

    def scipy_on_host(z):
        shape = jax.ShapeDtypeStruct(z.shape, z.dtype)
        return jax.pure_callback(
            lambda z: special.lambertw(z).real.astype(z.dtype), shape, jax.lax.stop_gradient(z)
        )

    functions = {
        "exp": (jnp.exp, z),
        "log": (lambda z: jnp.log(z + 1), z),
        "lambertw": (lambertw, z),
        "lambertw, derivative": (lambda z: jax.jvp(lambertw, (z,), (jnp.ones_like(z),))[1], z),
        "SuperLoss and sigma": (lambda x: closed_form(x, TAU, LAM), losses),
        "SuperLoss, value and gradient": (
            jax.value_and_grad(lambda x: closed_form(x, TAU, LAM)[0].mean()), losses,
        ),
        "two Halley steps": (halley, z),
        "two Halley steps, value and gradient": (by_formula(halley), losses),
        "SciPy by pure_callback, value and gradient": (by_formula(scipy_on_host), losses),
    }  # fmt: skip
    if importlib.util.find_spec("tensorflow_probability"):
        from tensorflow_probability.substrates import jax as tfp

        functions["TFP lambertw"] = (tfp.math.lambertw, z)
        functions["TFP, value and gradient"] = (by_formula(tfp.math.lambertw), losses)
    if importlib.util.find_spec("ott"):
        from ott.math import utils

        functions["OTT lambertw"] = (utils.lambertw, z)
        functions["OTT, value and gradient"] = (by_formula(utils.lambertw), losses)
    cases = {}
    for name, (function, argument) in functions.items():
        compiled = jax.jit(function)
        cases[name] = lambda f=compiled, x=argument: jax.block_until_ready(f(x))
    return cases


def torch_cases(size: int, dtype) -> dict:
    import torch
    from scipy import special

    torch.set_num_threads(1)
    losses = torch.from_numpy(sample(size, dtype)).requires_grad_()
    detached = losses.detach()

    def scipy_form():
        """SuperLoss as in public PyTorch code: SciPy on the host, sigma detached."""
        beta = ((losses - TAU) / LAM).detach().numpy()
        w = special.lambertw(np.maximum(-2 / np.e, beta) / 2).real
        sigma = torch.from_numpy(np.exp(-w).astype(dtype))
        value = ((losses - TAU) * sigma + LAM * torch.log(sigma) ** 2).mean()
        losses.grad = None
        value.backward()

    cases = {"PyTorch exp": lambda: torch.exp(detached)}
    cases["PyTorch with SciPy, value and gradient"] = scipy_form
    if importlib.util.find_spec("fastestimator") and importlib.util.find_spec("tensorflow"):
        from fastestimator.op.tensorop.loss import CrossEntropy
        from fastestimator.op.tensorop.loss.super_loss import SuperLoss

        given = CrossEntropy(inputs=("prediction", "label"), outputs="loss")
        op = SuperLoss(given, threshold=TAU, regularization=LAM)
        op.build("torch")
        given.forward = lambda losses, state: losses  # do not compute the losses

        def fastestimator_form():
            losses.grad = None
            op.forward(losses, {"mode": "train", "warmup": False}).backward()

        cases["FastEstimator, value and gradient"] = fastestimator_form
    return cases


def make_environment(name: str, *packages: str) -> pathlib.Path:
    python = ROOT / name / "bin" / "python"
    if not python.exists():
        print(f"installing {', '.join(packages)} into {name} ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", ROOT / name], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", *packages]
        subprocess.run(pip, check=True, cwd=ROOT)
    return python


def measure_here(framework: str, rounds: int) -> dict:
    """Measures a framework in this process; returns {dtype: {size: {case: seconds}}}."""
    make = {"jax": jax_cases, "torch": torch_cases}[framework]
    dtypes = (np.float32, np.float64) if framework == "jax" else (np.float32,)
    results: dict = {}
    if hasattr(os, "sched_setaffinity"):  # XLA:CPU splits loops over all visible cores
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for dtype in dtypes:
        for size in SIZES:
            print(f"{framework}, {np.dtype(dtype).name}, n = {size:,}", file=sys.stderr)
            measured = measure(make(size, dtype), rounds)
            results.setdefault(np.dtype(dtype).name, {})[str(size)] = measured
    return results


def bandwidth(size: int) -> None:
    """Compares value and gradient with a copy of the same array, on the default device."""
    import jax
    import jax.numpy as jnp

    from superloss_jax import closed_form

    losses = jnp.asarray(sample(size, np.float32))
    functions = {
        "copy": lambda x: x + 1,
        "value and gradient": jax.value_and_grad(lambda x: closed_form(x, TAU, LAM)[0].mean()),
    }
    seconds = {}
    for name, function in functions.items():
        compiled = jax.jit(function)
        times = []
        for _ in range(12):
            start = time.perf_counter()
            jax.block_until_ready(compiled(losses))
            times.append(time.perf_counter() - start)
        seconds[name] = statistics.median(times[2:])
        print(f"{name}: {8e-9 * size / seconds[name]:.1f} GB/s (one read, one write)")
    share = seconds["copy"] / seconds["value and gradient"]
    print(
        f"value and gradient at {share:.0%} of a copy, {jax.devices()[0].device_kind}, n = {size:,}"
    )


def interpreters(rivals: bool) -> dict[str, str]:
    """Returns the interpreter for each framework; installs the rivals' environments if needed."""
    if not rivals:
        return {"jax": sys.executable}
    # experiments.figures, which defines the two Halley steps, imports matplotlib.
    beside = ("matplotlib", "tfp-nightly", "ott-jax", "scipy")
    # FastEstimator 1.7 cannot be imported without these.
    old = ("tensorflow-cpu<2.16", "numpy<2", "setuptools<81")
    return {
        "jax": str(make_environment(".venv-rivals", "-e", ".", *beside)),
        "torch": str(
            make_environment(".venv-torch", "torch==2.13.0", "scipy", "fastestimator", *old)
        ),
    }


def measure_there(framework: str, python: str, rounds: int) -> dict:
    """Runs `measure_here` in a quiet process of another interpreter."""
    command = [python, "-m", "scripts.bench_superloss", f"--json={framework}"]
    done = subprocess.run(
        [*command, f"--rounds={rounds}"],
        check=True, stdout=subprocess.PIPE, text=True, env=os.environ | QUIET, cwd=ROOT,
    )  # fmt: skip
    return json.loads(done.stdout)


def show(dtype: str, sizes: dict) -> None:
    columns = " | ".join(f"n = {int(n):,}" for n in sizes)
    print(f"\n| {dtype}, multiples of exp | {columns} |")
    print("|---" * (1 + len(sizes)) + "|")
    units = [cases["exp"] for cases in sizes.values()]
    nanoseconds = [f"{1e9 * u / int(n):.2f} ns each" for u, n in zip(units, sizes, strict=True)]
    print("| exp | " + " | ".join(f"1 ({text})" for text in nanoseconds) + " |")
    for case in next(iter(sizes.values())):
        if case != "exp":
            ratios = [s[case] / u for s, u in zip(sizes.values(), units, strict=True)]
            print(f"| {case} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")


def main() -> None:
    streams.keep()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=checks.natural, default=21)
    parser.add_argument("--rivals", action="store_true", help="also what needs its own environment")
    parser.add_argument("--out", type=pathlib.Path, help="where to write the times as JSON, too")
    parser.add_argument(
        "--bandwidth", action="store_true", help="bytes/s against a copy, 1e8 losses"
    )
    parser.add_argument("--json", choices=("jax", "torch"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.json:
        print(json.dumps(measure_here(args.json, args.rounds)))
        return
    if args.bandwidth:
        bandwidth(100_000_000)
        return
    results: dict = {}
    for framework, python in interpreters(args.rivals).items():
        for dtype, sizes in measure_there(framework, python, args.rounds).items():
            for size, cases in sizes.items():
                results.setdefault(dtype, {}).setdefault(size, {}).update(cases)
    if args.out:
        args.out.write_text(json.dumps(results, indent=1) + "\n")
    for dtype, sizes in results.items():
        show(dtype, sizes)


if __name__ == "__main__":
    main()
