"""Draws the flowcharts of the pages when the site is built.

A reader's browser needs no script for them, from nowhere; style.css has their colours.
"""

import functools
import hashlib

import mermaidx


@functools.cache
def draw(source: str) -> str:
    """Returns the SVG of a flowchart.

    Args:
        source: String. Mermaid's text of it.
    """
    name = f"figure-{hashlib.sha256(source.encode()).hexdigest()[:12]}"
    drawn = mermaidx.render(source).svg().replace("my-svg", name)
    return f'<div class="figure">{drawn}</div>'


def _fence(source, language, css_class, options, md, **kwargs) -> str:
    return draw(source)


def on_config(config):
    """Registers the fences of flowcharts."""
    fences = config.mdx_configs.setdefault("pymdownx.superfences", {})
    fences["custom_fences"] = [
        {"name": "mermaid", "class": "mermaid", "format": _fence}
    ]
