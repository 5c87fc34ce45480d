"""What all pages have in common: one self-contained file, without script or network."""

import datetime
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

_TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **content: Any) -> str:
    """Returns a page.

    Args:
        template: The name of one of the pages in `templates`.
        **content: What it shows.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "number": number,
        "signed": signed,
        "percent": percent,
        "compact": compact,
        "moment": moment,
        "words": words,
        "metric": metric,
    }
    return environment.get_template(f"{template}.html.jinja").render(content)


def templates() -> str:
    """All templates as one text, for whoever keeps pages in a cache."""
    return "".join(file.read_text() for file in sorted(_TEMPLATES.iterdir()))


def number(value: float | None, digits: int = 4) -> str:
    """A number as text: fixed digits, and a dash for what is not defined.

    Example:
        >>> number(0.71234), number(None), number(1234567), number(0.00211)
        ('0.7123', '–', '1,234,567', '0.0021')
        >>> number(float("inf")), number(-1234.5)
        ('∞', '−1,234')
    """
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        text = "∞" if value > 0 else "-∞"
    elif isinstance(value, int):
        text = f"{value:,}"
    elif abs(value) >= 1000:
        text = f"{value:,.0f}"
    elif value and abs(value) < 10**-digits:
        text = f"{value:.1e}"
    else:
        text = f"{value:,.{digits}f}"
    return text.replace("-", "−", 1) if text.startswith("-") else text


def signed(value: float | None) -> str:
    """A difference with its sign; a real minus, as wide as the plus.

    Example:
        >>> signed(0.01), signed(-0.01), signed(None)
        ('+0.0100', '−0.0100', '–')
    """
    return "–" if value is None else f"{value:+.4f}".replace("-", "−")


def compact(value: float) -> str:
    """A number of any size in few characters.

    Example:
        >>> compact(0.000123), compact(30.0), compact(-1662854411), compact(1e300)
        ('0.000123', '30', '−1,662,854,411', '1e+300')
    """
    whole = 1000 <= abs(value) < 1e12
    return (f"{value:,.0f}" if whole else f"{value:.4g}").replace("-", "−", 1)


def moment(value: float | None) -> str:
    """A value of a time column: a date, if it can be seconds since 1970.

    Example:
        >>> moment(1662854411.0), moment(20220911.0), moment(None)
        ('2022-09-11 00:00 UTC', '20,220,911', '–')
    """
    if value is None:
        return "–"
    if not 1e9 <= value < 4e9:
        return compact(value)
    at = datetime.datetime.fromtimestamp(value, datetime.timezone.utc)
    return f"{at:%Y-%m-%d %H:%M} UTC"


def percent(share: float | None) -> str:
    """A share in percent.

    Example:
        >>> percent(0.1234), percent(0.00012), percent(0)
        ('12.3 %', '0.012 %', '0 %')
    """
    if share is None or math.isnan(share):
        return "–"
    if not share or share == 1:
        return f"{share:.0%}".replace("%", " %")
    return f"{100 * share:.{1 if share >= 0.01 else 3}f} %"


def words(name: str) -> str:
    """A key as words: best_reachable is "best reachable"."""
    return name.replace("_", " ")


_METRICS = {
    "auc": "AUC",
    "gauc": "AUC by group",
    "uauc": "mean AUC of groups",
    "pr_auc": "PR-AUC",
    "gxauc": "XAUC by group",
    "mrr": "MRR",
    "log_loss": "log-loss",
    "normalized_entropy": "normalised entropy",
    "spearman": "Spearman",
    "xauc": "XAUC",
    "mae": "MAE",
    "rmse": "RMSE",
}


def metric(name: str) -> str:
    """What a metric is called where people read it.

    Example:
        >>> metric("auc"), metric("calibration")
        ('AUC', 'calibration')
    """
    name, at, k = name.partition("@")
    if at:
        return f"{words(name).replace('ndcg', 'NDCG')} at {k}"
    return _METRICS.get(name, name)


def largest(
    sizes: Mapping[str, float], most: int
) -> tuple[list[str], int]:  # in the order of a reader: by number, or by the alphabet
    """Returns the keys of the largest sizes in natural order, and how many are left."""
    shown = sorted(sizes, key=lambda key: (-sizes[key], key))[:most]
    return sorted(shown, key=_natural), len(sizes) - len(shown)


def _natural(value: str) -> tuple[float, str]:
    """Sorts numbers by size, and before other texts."""
    try:
        return float(value), value
    except ValueError:
        return float("inf"), value


def finite(points: Sequence[Sequence[float | None]]) -> list[Sequence[float]]:
    """The points of which every number is there and finite."""
    return [p for p in points if all(v is not None and math.isfinite(v) for v in p)]
