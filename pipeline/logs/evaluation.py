"""The values of expressions (`pipeline.config.expressions`) on Arrow batches.

Everything is float64 on the way: 1 and 0 for true and false, NaN for null.
"""

import ast
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import expressions
from pipeline.config.data import MISSING_WORDS
from pipeline.logs.formats import Chunk
from pipeline.logs.values import casting
from pipeline.logs.values.casting import Column, Misfits
from pipeline.logs.values.texts import canonical

_ARITHMETIC: dict[type, Callable] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Mod: np.mod,
}
_COMPARISONS: dict[type, Callable] = {
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}


# Column -> the texts in it that stand for no value; None where each is one.
Missing = Callable[[str], tuple[str, ...] | None]


def _usual_words(column: str) -> tuple[str, ...]:
    return MISSING_WORDS


class Expression(NamedTuple):
    """An expression, as workers get it.

    Attributes:
        text: As it stands in the config.
        missing: `Config.missing_words`. Defaults to the usual words, in all columns.
    """

    text: str
    missing: Missing = _usual_words

    def values(self, rows: pa.RecordBatch) -> tuple[np.ndarray, Misfits]:
        """Computes it on each row; a column that the rows lack is null in all of them.

        Returns:
            float64 (rows,), NaN for null; and the rows in which a column is to be a
            number and is none, null in the result.
        """
        return _Evaluator(rows, self.missing).run(expressions.parse(self.text))


def select(
    where: Expression | None, chunk: Chunk
) -> tuple[pa.RecordBatch, np.ndarray, Misfits, int]:
    """The rows for which an expression holds, and those on which it cannot be computed.

    Args:
        where: The expression; all rows are selected without one.
        chunk: The rows, and where they stand.

    Returns:
        The rows and their positions; {row: what is wrong}; how many rows are left out.
    """
    rows, positions = chunk.rows, chunk.positions
    if where is None:
        return rows, positions, {}, 0
    holds, wrong = where.values(rows)
    kept = np.nan_to_num(holds) != 0
    kept[list(wrong)] = True
    place = np.cumsum(kept) - 1
    misfits = {int(place[row]): reason for row, reason in wrong.items()}
    left_out = int(np.sum(~kept))
    return rows.filter(pa.array(kept)), positions[kept], misfits, left_out


class _Evaluator:
    """The rows of one batch, and the misfits found in them so far."""

    def __init__(self, batch: pa.RecordBatch, missing: Missing):
        self.batch = batch
        self.missing = missing
        self.misfits: Misfits = {}

    def run(self, tree: ast.expr) -> tuple[np.ndarray, Misfits]:
        with np.errstate(all="ignore"):
            result = np.broadcast_to(self.number(tree), self.batch.num_rows).copy()
        result[list(self.misfits)] = np.nan
        return result, self.misfits

    def number(self, node: ast.expr) -> np.ndarray:
        name = expressions.column_of(node)
        if name is not None:
            return self.column(name, "float").to_numpy(zero_copy_only=False)
        match node:
            case ast.Constant(value=value):
                return np.float64(value)
            case ast.BinOp(left=left, op=op, right=right):
                return self.arithmetic(op, self.number(left), self.number(right))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                value = self.number(operand)
                return _known(value == 0, value)
            case ast.UnaryOp(op=op, operand=operand):
                value = self.number(operand)
                return -value if isinstance(op, ast.USub) else value
            case ast.BoolOp(op=op, values=parts):
                parts = np.broadcast_arrays(*map(self.number, parts))
                fold = np.all if isinstance(op, ast.And) else np.any
                return _known(fold(np.not_equal(parts, 0), axis=0), *parts)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                chosen = self.number(test)
                either = np.where(chosen != 0, self.number(body), self.number(orelse))
                return np.where(np.isnan(chosen), np.nan, either)
            case ast.Compare():
                return self.compare(node)
        return self.call(node)

    def arithmetic(self, op: ast.operator, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        result = _ARITHMETIC[type(op)](a, b)
        if isinstance(op, ast.Div | ast.Mod):
            result = np.where(b == 0, np.nan, result)
        return result

    def compare(self, node: ast.Compare) -> np.ndarray:
        if expressions.is_text(node.comparators[0]):
            return self.compare_text(node)
        left, results = self.number(node.left), []
        for op, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(op, ast.In | ast.NotIn):
                among = np.isin(left, [float(self.number(n)) for n in right.elts])
                found = among if isinstance(op, ast.In) else ~among
                results.append(_known(found, left))
            else:
                right = self.number(right)
                found = _COMPARISONS[type(op)](left, right)
                results.append(_known(found, left, right))
                left = right
        return _known(np.all(np.not_equal(results, 0), axis=0), *results)

    def compare_text(self, node: ast.Compare) -> np.ndarray:
        name = expressions.column_of(node.left)
        text = self.column(name, "string")
        (op,), (right,) = node.ops, node.comparators
        texts = ast.literal_eval(right)
        among = pa.array([texts] if isinstance(texts, str) else list(texts))
        if self.missing(name) is not None:  # as the column is
            among = canonical(among, ())
        found = pc.is_in(text, among).to_numpy(zero_copy_only=False)
        if isinstance(op, ast.NotEq | ast.NotIn):
            found = ~found
        missing = text.is_null().to_numpy(zero_copy_only=False)
        return np.where(missing, np.nan, found)

    def call(self, node: ast.Call) -> np.ndarray:
        name, first = node.func.id, node.args[0]
        if name == "is_null" and (column := expressions.column_of(first)):
            # Of any type: a text is not missing because it is no number.
            missing = self.column(column, "string").is_null()
            return missing.to_numpy(zero_copy_only=False).astype(np.float64)
        parts = [self.number(argument) for argument in node.args]
        if name == "is_null":
            return np.isnan(parts[0]).astype(np.float64)
        if name == "coalesce":
            result = parts[0]
            for other in parts[1:]:
                result = np.where(np.isnan(result), other, result)
            return result
        if name in ("min", "max"):
            fold = np.minimum if name == "min" else np.maximum
            for other in parts[1:]:
                parts[0] = fold(parts[0], other)
            return parts[0]
        return {"abs": np.abs, "log1p": np.log1p}[name](parts[0])

    def column(self, name: str, kind: str) -> pa.Array:
        type_ = pa.float64() if kind == "float" else pa.string()
        column = Column(name, kind, type_, missing=self.missing(name))
        cast, wrong = casting.cast(self.batch, [column])
        self.misfits = {**wrong, **self.misfits}
        return cast.column(0)


def _known(result: np.ndarray, *operands: np.ndarray) -> np.ndarray:
    """1 and 0 where all operands are known, else NaN."""
    missing = np.any(
        [np.isnan(part) for part in np.broadcast_arrays(*operands)], axis=0
    )
    return np.where(missing, np.nan, result)
