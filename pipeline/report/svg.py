"""What matplotlib draws, as an SVG element for an HTML page.

Texts stay texts: they scale, can be searched and read aloud, and take the page's font.
"""

import hashlib
import html
import io
import re
import warnings
from collections.abc import Callable
from typing import NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, SOFT, GRID = "#1d2530", "#5b6570", "#e1e5ea"
WIDTH, HEIGHT = 3.6, 2.6  # inches, of 72 units of the SVG
_STYLE = {
    "svg.fonttype": "none",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "text.parse_math": False,  # a value of a column may hold dollars
    "font.family": "DejaVu Sans",
    "font.size": 7.5,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "lines.markersize": 3.2,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
}


class Chart(NamedTuple):
    """What a chart shows, in a few words, and the SVG element."""

    title: str
    svg: str


def chart(
    title: str, draw: Callable[[Axes], None], series: int, height: float = HEIGHT
) -> Chart:
    """Returns a chart.

    Args:
        title: What it shows.
        draw: Draws it.
        series: How many things have a label; more than one need a legend.
        height: In inches.
    """

    def draw_with_legend(figure: Figure) -> None:
        draw(figure.subplots())
        if series > 1:
            figure.legend(
                loc="outside lower left",
                ncols=2 if series > 3 else 3,
                fontsize=7,
                borderaxespad=0.2,
            )

    return Chart(title, _element(title, file(title, draw_with_legend, WIDTH, height)))


def file(
    title: str, draw: Callable[[Figure], None], width: float, height: float
) -> str:
    """Returns what a figure draws as a whole SVG file, in the style of the pages.

    Args:
        title: What it shows; ids are made from it, the same in every run.
        draw: Draws it.
        width: In inches.
        height: In inches.
    """
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # The page's fonts have what DejaVu lacks, such as Chinese.
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        figure = Figure(figsize=(width, height), layout="constrained")
        canvas = FigureCanvasSVG(figure)
        draw(figure)
        matplotlib.rcParams["svg.hashsalt"] = title
        text = io.StringIO()
        # Not `savefig`, which draws everything twice.
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        canvas.print_svg(text, metadata=metadata)
    return text.getvalue()


_OWN_STYLE = re.compile(r"<defs>\s*<style.*?</defs>", re.DOTALL)
_GROUP_ID = re.compile('<g id="[^"]*"')
_NO_TURN = re.compile(r' transform="rotate\(-0 [^"]*"')
_PATH = re.compile(' d="([^"]*)"')
_NUMBER = re.compile(r"\d+\.\d+")
_ID = re.compile(r'( id="|url\(#|href="#)')
_BETWEEN = re.compile(r">\s+<")


def _element(title: str, svg: str) -> str:
    """The bare <svg> of a file, with a name, and ids that no other chart has."""
    start, rest = svg[svg.index("<svg") :].split(">", 1)
    box = re.search('viewBox="([^"]*)"', start)[1]
    for unused in (_OWN_STYLE, _NO_TURN):
        rest = unused.sub("", rest)
    rest = _GROUP_ID.sub("<g", rest)
    rest = _PATH.sub(lambda path: f' d="{_NUMBER.sub(_rounded, path[1])}"', rest)
    prefix = f"c{hashlib.sha256(f'{title}{rest}'.encode()).hexdigest()[:8]}"
    rest = _BETWEEN.sub("><", _ID.sub(rf"\g<1>{prefix}", rest)).strip()
    label = html.escape(title, quote=True)
    return f'<svg viewBox="{box}" role="img" aria-label="{label}">{rest}'


def _rounded(number: re.Match) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")
