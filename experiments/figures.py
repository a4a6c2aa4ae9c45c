"""Draws the documentation's figures: python -m experiments.figures theory --out=docs"""

import json
import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from experiments import streams
from experiments.pictures import plt
from experiments.report.drawing import COLOURS
from experiments.usage import Parser
from superloss_jax import closed_form, lambertw
from superloss_jax.confidence import (
    confidence_cross_entropy,
    introspection,
    reliability,
    superloss_objective,
)


def halley(z, steps=2):
    """Computes W without this library: a guess from the branch point or log, then Halley steps."""
    near = jnp.sqrt(jnp.maximum(2 * (1 + np.e * z), 0)) - 1
    w = jnp.where(z < 1, near, jnp.log1p(jnp.maximum(z, 0)))
    for _ in range(steps):
        e = jnp.exp(w)
        f = w * e - z
        w = w - f / (e * (w + 1) - (w + 2) * f / (2 * w + 2 + 1e-8))
    return w


def save(figure, path: pathlib.Path) -> None:
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(path)


def superloss_over_loss(path: pathlib.Path) -> None:
    """Plots SL and sigma over l for several lam, at tau = log 10."""
    tau = float(np.log(10))
    losses = jnp.linspace(0.0, 7.0, 701)
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), constrained_layout=True)
    axes[0].plot(losses, losses - tau, color="0.6", ls=":", label="$l - \\tau$")
    for lam, colour in zip((0.1, 0.25, 1.0, 4.0), COLOURS, strict=False):
        for axis, curve in zip(axes, closed_form(losses, tau, lam), strict=True):
            axis.plot(losses, curve, color=colour, label=f"lam = {lam:g}")
    axes[0].set(title="SuperLoss", ylabel="SL(l)", ylim=(-6.5, 5))
    axes[1].set(title="weight of a sample", ylabel="sigma = dSL/dl", ylim=(0, 2.9))
    for axis in axes:
        axis.axvline(tau, color="0.6", lw=0.8)
        axis.annotate("tau = log 10", (tau, axis.get_ylim()[0]), (3, 5),
                      textcoords="offset points", color="0.4", fontsize=9)  # fmt: skip
        axis.set(xlabel="loss l")
        axis.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    save(figure, path)


def scipy_float32(z):
    """Rounds SciPy's result to float32; SciPy itself computes in complex double."""
    from scipy import special

    return special.lambertw(z).real.astype(np.float32)


def error_over_z(path: pathlib.Path) -> None:
    """Plots errors in ulp over the distance from the branch point."""
    import mpmath

    ways: dict[str, Callable] = {
        "two Halley steps": jax.jit(halley),
        "SciPy, rounded to float32": scipy_float32,
    }
    try:
        from tensorflow_probability.substrates import jax as tfp

        ways["TFP"] = jax.jit(tfp.math.lambertw)
    except ImportError:
        print("tensorflow_probability is not installed: its curve is left out")
    ways["superloss_jax"] = jax.jit(lambertw)

    distance = np.geomspace(3e-8, 1e30, 12_000)  # z + 1/e
    z = np.unique((distance - 1 / np.e).astype(np.float32))
    z = z[z > np.float32(-1 / np.e)]
    exact = [mpmath.lambertw(mpmath.mpf(float(x))).real for x in z]
    unit = np.array([np.spacing(np.float32(abs(float(w)))) for w in exact], np.float64)
    figure, axis = plt.subplots(figsize=(10, 4.2), constrained_layout=True)
    bins = np.geomspace(3e-8, 1e30, 90)
    place = np.digitize(z.astype(np.float64) + 1 / np.e, bins)
    styles = zip((1, 2, 3, 0), ("--", "-.", ":", "-"), strict=True)
    for (name, way), (colour, style) in zip(ways.items(), styles, strict=False):
        values = np.asarray(way(z), np.float64)
        error = np.array([abs(float(mpmath.mpf(v) - w)) if np.isfinite(v) else np.inf
                          for v, w in zip(values, exact, strict=True)]) / unit  # fmt: skip
        filled = [k for k in range(1, len(bins)) if (place == k).any()]
        largest = [error[place == k].max() for k in filled]
        axis.plot(bins[filled], np.maximum(largest, 0.05), color=COLOURS[colour], ls=style,
                  label=name, lw=2 if name == "superloss_jax" else 1.3)  # fmt: skip
    axis.set(xscale="log", yscale="log", xlabel="z + 1/e", ylim=(0.2, 1e5),
             ylabel="largest error (units in the last place)", title="W(z) in float32")  # fmt: skip
    axis.legend(frameon=False)
    axis.grid(alpha=0.3)
    save(figure, path)


def cost(path: pathlib.Path, times: pathlib.Path) -> None:
    """Plots measured times for a million float32 losses, in multiples of exp."""
    measured = json.loads(times.read_text())["float32"]["1000000"]
    unit = measured.pop("exp")
    ours = ("lambertw", "SuperLoss")
    figure, axis = plt.subplots(figsize=(10, 4.4), constrained_layout=True)
    for place, (name, seconds) in enumerate(reversed(measured.items())):
        ratio = seconds / unit
        axis.barh(place, ratio, color=COLOURS[0] if name.startswith(ours) else "0.7")
        axis.annotate(f" {ratio:.3g}", (ratio, place), va="center", fontsize=9)
    axis.set_yticks(range(len(measured)), list(measured)[::-1])
    axis.set(xscale="log", xlim=(0.5, 2e3), xlabel="CPU time, multiples of exp (a million float32)")
    axis.grid(alpha=0.3, axis="x")
    save(figure, path)


def weight_over_visits(path: pathlib.Path) -> None:
    """Plots sigma and its sum for a loss that stays 4 above both thresholds, lam = 1."""
    far, visits = 4.0, np.arange(1, 10_001)
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), constrained_layout=True)
    for g, colour in zip((0.0, 0.03, 0.2, 1.0), COLOURS, strict=False):
        n = 1 + g * (visits - 1.0)  # the evidence is far (visits - 1), and lam is 1 / n
        _, sigma = closed_form(far * n, 0.0, 1 / n)
        for axis, curve in zip(axes, (sigma, np.cumsum(np.asarray(sigma, float))), strict=True):
            axis.plot(visits, curve, color=colour, label=f"g = {g:g}")
    axes[1].axhline(np.pi / np.sqrt(far / 2), color="0.4", ls=":", label="bound, g = 1")
    axes[0].set(title="weight at a visit", ylabel="sigma", ylim=(1e-7, 1.5))
    axes[1].set(title="sum of the weights", ylabel="sum of sigma")
    for axis in axes:
        axis.set(xscale="log", yscale="log", xlabel="visits")
        axis.grid(alpha=0.3)
    figure.legend(*axes[1].get_legend_handles_labels(), loc="outside right center", frameon=False)
    save(figure, path)


def theory(out: pathlib.Path) -> None:
    superloss_over_loss(out / "theory_superloss.png")
    weight_over_visits(out / "theory_memory.png")
    error_over_z(out / "theory_error.png")
    cost(out / "theory_cost.png", out / "bench_superloss.json")


def confidence(out: pathlib.Path) -> None:
    """Plots four losses over confidence and over how right the network is."""
    tau, right = float(np.log(10)), np.linspace(0, 1, 201)
    margin, loss = 8 * right - 4, 2 * tau * (1 - right)
    panels: list[tuple] = [
        ("cross entropy of scaled logits", "logit of the label, above the other's",
         margin, np.geomspace(0.05, 4, 201), np.arange(0, 4.1, 0.25),
         lambda x, s: confidence_cross_entropy(np.stack([x, 0 * x], axis=-1), 0, s)),
        ("reliability, $\\kappa = 1/2$", "average precision",
         right, np.linspace(1e-3, 1, 201), np.arange(0, 1.01, 0.1), reliability),
        ("introspection", "similarity of a match, $1 - l$",
         right, np.linspace(1e-3, 10, 201), np.arange(-2.5, 6.1, 0.5),
         lambda x, s: introspection(1 - x, s)),
        ("SuperLoss, $\\tau = \\log 10$, $\\lambda = 1$", "loss $l$",
         loss, np.geomspace(0.05, 4, 201), np.arange(-8, 8.1),
         lambda x, s: superloss_objective(x, s, tau, 1.0)),
    ]  # fmt: skip
    figure, axes = plt.subplots(2, 2, figsize=(10, 7.6), constrained_layout=True)
    for axis, (title, label, x, sigma, levels, f) in zip(axes.flat, panels, strict=True):
        values = np.asarray(f(*np.meshgrid(x, sigma)))
        extend = "max" if values.max() > levels[-1] else "neither"
        filled = axis.contourf(x, sigma, values, levels, cmap="cividis", extend=extend)
        lines = axis.contour(x, sigma, values, levels, colors="w", linewidths=0.6, linestyles="-")
        figure.colorbar(filled, ax=axis, label="L").add_lines(lines)
        axis.set(title=title, xlabel=f"wrong  \u2190  {label}  \u2192  right",
                 ylabel="confidence sigma", xlim=(x[0], x[-1]))  # fmt: skip
    for axis in (axes[0, 0], axes[1, 1]):
        axis.set_yscale("log")
        axis.set_yticks((0.1, 0.3, 1, 3), labels=("0.1", "0.3", "1", "3"))
    axis.plot(loss, closed_form(loss, tau, 1.0)[1], color=COLOURS[1], lw=2.5,
              label="SuperLoss's sigma: least L up to e")  # fmt: skip
    axis.legend(loc="lower left", fontsize=9)
    save(figure, out / "confidence.png")


FIGURES = {"theory": theory, "confidence": confidence}


def main() -> None:
    streams.keep()
    parser = Parser(prog="python -m experiments.figures", description=__doc__)
    parser.add_argument("figure", choices=FIGURES)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("docs"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    FIGURES[args.figure](args.out)


if __name__ == "__main__":
    main()
