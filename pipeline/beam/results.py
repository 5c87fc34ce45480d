"""A Beam job that maps a function over items and brings back what it returns.

Results come back through files: only the local runner shares memory with its caller.
"""

import pickle
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam

from pipeline.beam.atomic import whole
from pipeline.beam.runner import pipeline
from pipeline.config import Config
from pipeline.errors import PipelineError


def each(
    config: Config,
    function: Callable[[int, Any], Any],
    items: Sequence[Any],
    work: Path,
) -> list[Any]:
    """Returns [function(i, item), ...], computed by Beam workers.

    Args:
        config: Its `beam` section says which workers.
        function: Picklable; as a worker may die and its item be tried again, what it
            writes must be the same the second time.
        items: Picklable.
        work: A folder that all workers see.

    Raises:
        PipelineError: If any call raised one, with the messages of all.
    """
    with tempfile.TemporaryDirectory(dir=work) as folder:
        with pipeline(config) as p:
            _ = (
                p
                | beam.Create(list(enumerate(items)))
                | beam.ParDo(_Call(function, folder))
            )
        results = [
            pickle.loads(Path(folder, str(i)).read_bytes()) for i in range(len(items))
        ]
    errors = [str(result) for result in results if isinstance(result, PipelineError)]
    if errors:
        raise PipelineError("\n".join(errors))
    return results


class _Call(beam.DoFn):
    def __init__(self, function: Callable[[int, Any], Any], folder: str):
        self.function = function
        self.folder = folder

    def process(self, numbered: tuple[int, Any]) -> None:
        index, item = numbered
        try:
            result = self.function(index, item)
        except PipelineError as error:
            result = error  # Raised here, a runner would try again and wrap it.
        with whole(Path(self.folder, str(index))) as part:
            part.write_bytes(pickle.dumps(result))
