"""Draws the flowcharts of the pages when the site is built.

A reader's browser needs no script for them, from nowhere.
"""

import functools
import hashlib

import mermaidx

STYLE = """
.node rect, .node circle, .node path, .node polygon {
  fill: var(--md-code-bg-color) !important;
  stroke: var(--md-primary-fg-color) !important; }
.edgePaths path { stroke: var(--md-default-fg-color--light) !important; }
marker path { fill: var(--md-default-fg-color--light) !important;
  stroke: none !important; }
.label, .label span, .edgeLabel, .edgeLabel p {
  color: var(--md-default-fg-color) !important;
  background-color: var(--md-default-bg-color) !important; }
.node .label, .node .label span { background-color: transparent !important; }
"""


@functools.cache
def draw(source: str) -> str:
    """Returns the SVG of a flowchart.

    Args:
        source: String. Mermaid's text of it.
    """
    name = f"figure-{hashlib.sha256(source.encode()).hexdigest()[:12]}"
    drawn = mermaidx.render(source, css=STYLE).svg().replace("my-svg", name)
    return f'<div class="figure">{drawn}</div>'


def _fence(source, language, css_class, options, md, **kwargs) -> str:
    return draw(source)


def on_config(config):
    """Registers the fences of flowcharts."""
    fences = config.mdx_configs.setdefault("pymdownx.superfences", {})
    fences["custom_fences"] = [
        {"name": "mermaid", "class": "mermaid", "format": _fence}
    ]
