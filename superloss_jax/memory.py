"""Methods that remember each example, or each class, from earlier batches.

`update` needs a state with a row for each of them, and `index` or `labels` to find the rows.
`index` is an example's position in the data set. An index outside the data set gives NaN and is
not recorded.
"""

from superloss_jax._clean_probability import clean_probability
from superloss_jax._data_parameters import (
    DataParameters,
    DataParametersState,
    data_parameters,
    instance_weights,
)
from superloss_jax._early_learning import EarlyLearningState, early_learning
from superloss_jax._loss_memory import LossMemoryState, loss_memory
from superloss_jax._remembered_state import RememberedState, advance, check_memory
from superloss_jax._remembered_superloss import remembered_superloss
from superloss_jax._self_filter import SelfFilterState, self_filter
from superloss_jax._trend_superloss import TrendState, trend_superloss

__all__ = [
    "DataParameters",
    "DataParametersState",
    "EarlyLearningState",
    "LossMemoryState",
    "RememberedState",
    "SelfFilterState",
    "TrendState",
    "advance",
    "check_memory",
    "clean_probability",
    "data_parameters",
    "early_learning",
    "instance_weights",
    "loss_memory",
    "remembered_superloss",
    "self_filter",
    "trend_superloss",
]
