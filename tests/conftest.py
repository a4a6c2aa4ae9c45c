"""Every test sees 8 CPU devices, strict rank promotion, and x64 as JAX_ENABLE_X64 says."""

import chex
import jax

chex.set_n_cpu_devices(8)
jax.config.update("jax_numpy_rank_promotion", "raise")
