"""Runs the notebooks of examples/; `make notebooks` keeps what they print."""

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from paths import ROOT

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))

# TensorFlow's notes on this machine's processor, once and for all.
_FIRST = """
from serving.quiet import import_tensorflow_quietly
import_tensorflow_quietly()
"""


def execute(path: Path, folder: Path) -> nbformat.NotebookNode:
    """Returns a notebook with the outputs of all its cells, run in a folder."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(_FIRST))
    NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=None,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    ).execute()
    del notebook.cells[0]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.execution_count -= 1
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count -= 1
                if "text" in output:  # where it ran is nobody's business
                    output.text = output.text.replace(f"{folder}/", "")
    notebook.metadata.language_info = {"name": "python"}
    return notebook


if __name__ == "__main__":
    for path in [Path(name) for name in sys.argv[1:]] or NOTEBOOKS:
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(execute(path, Path(folder)), path)
        print(path)
