"""Texts of values (`pipeline.logs.values.texts`) in TensorFlow, for the served graph.

A caller of a REST API sends what stands in its own tables: "5.0" for an id, "True".
Most texts are what they should be already, so that a request is only looked through.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from pipeline.logs.values.texts import BOOLEANS, SCIENTIFIC, WHOLE, WHOLE_TEXT
from pipeline.logs.values.weighted import VALUE, WEIGHT

_WEIGHT = r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*"


def canonical(
    texts: Mapping[str, tf.Tensor], missing: Sequence[str]
) -> dict[str, tf.Tensor]:
    """Rewrites texts as `texts.canonical` does; what is missing becomes "".

    Args:
        texts: {name: string tensor}.
        missing: The texts that stand for no value, beside the empty one.

    Returns:
        {name: string tensor of the same shape}.
    """
    if not texts:
        return {}
    # All together: an operation on a few strings costs more than the strings, and a
    # server prepares each operation, and each output of a condition.
    flats = [_flat(text) for text in texts.values()]
    flat = tf.concat(flats, 0)
    words = "|".join(map(re.escape, (*missing, *BOOLEANS)))
    other = f"{WHOLE}|{SCIENTIFIC}|^(?:{words})$"
    flat = tf.cond(
        tf.reduce_any(tf.strings.regex_full_match(flat, other)),
        lambda: _rewritten(flat, missing),
        lambda: flat,
    )
    parts = tf.split(flat, tf.concat(tf.shape_n(flats), 0), num=len(texts))
    return {
        name: part if text.shape.rank == 1 else tf.reshape(part, tf.shape(text))
        for (name, text), part in zip(texts.items(), parts, strict=True)
    }


def _flat(text: tf.Tensor) -> tf.Tensor:
    return text if text.shape.rank == 1 else tf.reshape(text, [-1])


def weighted(texts: tf.Tensor, of_map: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
    """Texts "value:weight" as values and float weights, 1 of a text without.

    A value whose weight is no finite number, or below 0, is missing, "". With `of_map`
    weights may be below 0, and a text without is missing.
    """
    alone = "" if of_map else "1"
    has_weight = tf.strings.regex_full_match(texts, f"(?s:.*){WEIGHT}")
    written = tf.where(has_weight, tf.strings.regex_replace(texts, VALUE, ""), alone)
    is_number = tf.strings.regex_full_match(written, _WEIGHT)
    weights = tf.strings.to_number(tf.where(is_number, written, "0"), tf.float32)
    values = tf.strings.regex_replace(texts, WEIGHT, "")
    fits = is_number & tf.math.is_finite(weights) & (of_map | (weights >= 0))
    weights = tf.where(fits & (values != ""), weights, 0.0)
    return tf.where(fits, values, ""), weights


def numbers(texts: tf.Tensor) -> tf.Tensor:
    """Texts as float numbers; NaN for what is none."""
    is_number = tf.strings.regex_full_match(texts, _WEIGHT)
    found = tf.strings.to_number(tf.where(is_number, texts, "0"), tf.float32)
    return tf.where(is_number, found, np.nan)


def _rewritten(texts: tf.Tensor, missing: Sequence[str]) -> tf.Tensor:
    texts = tf.strings.regex_replace(texts, WHOLE, WHOLE_TEXT)
    for text, plain in (BOOLEANS | dict.fromkeys(missing, "")).items():
        texts = tf.where(texts == text, plain, texts)
    scientific = tf.strings.regex_full_match(texts, SCIENTIFIC)
    numbers = tf.strings.to_number(tf.where(scientific, texts, "0"), tf.float64)
    whole = (numbers == tf.floor(numbers)) & (tf.abs(numbers) < 2.0**53)
    integers = tf.as_string(tf.cast(tf.where(whole, numbers, 0.0), tf.int64))
    written = tf.as_string(numbers, precision=17, shortest=True)
    for digits in (16, 15):
        fewer = tf.as_string(numbers, precision=digits, shortest=True)
        same = tf.strings.to_number(fewer, tf.float64) == numbers
        written = tf.where(same, fewer, written)
    written = tf.where(whole, integers, written)
    return tf.where(scientific, written, texts)
