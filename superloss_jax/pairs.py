"""Methods for two networks that learn together.

`update` needs the losses of two networks on the same batch, of shape (2, batch). `logits` are
(2, batch, classes); `labels` and `where` are (batch,).
"""

from superloss_jax._co_teaching import co_teaching
from superloss_jax._jocor import jocor

__all__ = ["co_teaching", "jocor"]
