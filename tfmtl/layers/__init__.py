"""Keras layers, one concept a file; each also works in any functional model."""

from tfmtl.layers.dnn import DNN
from tfmtl.layers.embedding import FeatureEmbedding
from tfmtl.layers.experts import Experts
from tfmtl.layers.extraction import CGC, PLE
from tfmtl.layers.gates import SoftmaxGate
from tfmtl.layers.sharing import SharedBottom
from tfmtl.layers.towers import Tower

__all__ = [
    "CGC",
    "DNN",
    "PLE",
    "Experts",
    "FeatureEmbedding",
    "SharedBottom",
    "SoftmaxGate",
    "Tower",
]
