"""Encoders of sequences by name."""

import functools

import keras

from tfmtl import _errors
from tfmtl.layers.sequences.dien import DIEN
from tfmtl.layers.sequences.eta import ETA
from tfmtl.layers.sequences.pooling import POOLINGS, SequencePooling
from tfmtl.layers.sequences.sim import SIM
from tfmtl.layers.sequences.target_attention import TargetAttention
from tfmtl.layers.sequences.transformer import BST, SASRec

ENCODERS = {
    **{name: functools.partial(SequencePooling, name) for name in POOLINGS},
    "target_attention": TargetAttention,
    "dien": DIEN,
    "bst": BST,
    "sasrec": SASRec,
    "eta": ETA,
    "sim": SIM,
}


def sequence_encoder(encoder: str, /, **options) -> keras.layers.Layer:
    """Returns an encoder of a sequence by its name.

    "mean", "sum" and "max" have no weights of their own. "target_attention" (DIN),
    "dien", "bst" and "eta" compare the items with a target, and are called with
    (target, sequence, present); "sim" with (target, sequence, present, same); "sasrec"
    and the poolings with (sequence, present). The attributes `takes_target` and
    `takes_same` tell.

    Args:
        encoder: String. One of the above.
        **options: Arguments of the layer, its own and Keras's.

    Raises:
        ValueError: If there is no such encoder; the message gives the nearest.

    Example:
    >>> sequence_encoder("bst", heads=4).heads
    4
    """
    _errors.check_choice("encoder", encoder, ENCODERS)
    return ENCODERS[encoder](**options)
