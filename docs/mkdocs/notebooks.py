"""Shows the notebooks in `examples/` as pages, with what they printed when they ran."""

import json
import re
from pathlib import Path

from mkdocs.structure.files import File, Files


def page(notebook: dict) -> str:
    """Returns a notebook as Markdown.

    Args:
        notebook: Dict. The content of an .ipynb file, of format 4.
    """
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            source = f"```python\n{source}\n```"
        parts.append(source)
        parts += [_shown(output) for output in cell.get("outputs", ())]
    return "\n\n".join(parts) + "\n"


def _shown(output: dict) -> str:
    """An output: its picture, its table, or its text."""
    data = {kind: "".join(lines) for kind, lines in output.get("data", {}).items()}
    if "image/png" in data:
        return f'<img alt="" src="data:image/png;base64,{data["image/png"].strip()}">'
    table = re.search(r"<table[^>]*(>.*</table>)", data.get("text/html", ""), re.DOTALL)
    if table:  # in one line, without a class: as the tables of Markdown
        return "<table" + re.sub(r"\s*\n\s*", "", table[1])
    text = data.get("text/plain") or "".join(output.get("text", ()))
    return f"```text\n{text.rstrip()}\n```"


def on_files(files: Files, config) -> Files:
    """Puts a page in the place of each notebook."""
    for file in list(files):
        if file.src_uri.endswith(".ipynb"):
            notebook = json.loads(Path(file.abs_src_path).read_text("utf-8"))
            files.remove(file)
            name = file.src_uri.removesuffix(".ipynb") + ".md"
            files.append(File.generated(config, name, content=page(notebook)))
    return files


def on_page_markdown(markdown: str, **kwargs) -> str:
    """Links of the page to notebooks lead to their pages."""
    return re.sub(r"(\]\([^)\s]+)\.ipynb\)", r"\1.md)", markdown)
