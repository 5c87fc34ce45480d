"""Tables as plain text."""

from collections.abc import Sequence

_NUMBERS = "+-–0123456789"  # what they begin with


def text(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table; columns of numbers, but for the first, are right-aligned.

    Args:
        head: A name for each column.
        rows: The cells.

    Example:
        >>> print(text(["task", "auc"], [["click", "0.71"], ["like", "0.6"]]))
        task    auc
        click  0.71
        like    0.6
    """
    columns = list(zip(head, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [
        i > 0 and all(not cell or cell[0] in _NUMBERS for cell in cells)
        for i, (_, *cells) in enumerate(columns)
    ]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in (head, *rows)
    )


def megabytes(size: int) -> str:
    """A size as text.

    Example:
        >>> megabytes(1_234_567)
        '1.2 MB'
    """
    return f"{size / 1e6:,.1f} MB"
