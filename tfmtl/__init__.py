"""Multi-task and multi-domain ranking models for recommendation, on Keras 3.

`Task` and features such as `Categorical` declare what is predicted from what, or
`from_dataframe` does, of a table; `models.get(name)` gives an architecture; `data.read`
feeds it; `export` serves it; `fusion` makes one score to rank by of the tasks'.
"""

from tfmtl import data, fusion, layers, losses, metrics, models, optimizers, training
from tfmtl._version import __version__ as __version__
from tfmtl.dataframe import from_dataframe
from tfmtl.features import (
    Categorical,
    Multivalued,
    Numeric,
    NumericSequence,
    Sequence,
    Vector,
    quantile_boundaries,
)
from tfmtl.models import MultiTaskModel
from tfmtl.saved_model.compact_tables import round_tables
from tfmtl.saved_model.export import export
from tfmtl.tasks import Task

__all__ = [
    "Categorical",
    "MultiTaskModel",
    "Multivalued",
    "Numeric",
    "NumericSequence",
    "Sequence",
    "Task",
    "Vector",
    "data",
    "export",
    "from_dataframe",
    "fusion",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "quantile_boundaries",
    "round_tables",
    "training",
]
