"""Keras layers, one concept a file; each also works in any functional model."""

from tfmtl.layers.aitm import AITM, InformationTransfer
from tfmtl.layers.cross import Cross, CrossMix, CrossV2
from tfmtl.layers.cross_stitch import CrossStitch
from tfmtl.layers.dcrnn import DCRNN
from tfmtl.layers.dnn import DNN
from tfmtl.layers.domain_tower import DomainTower
from tfmtl.layers.embedding import FeatureEmbedding
from tfmtl.layers.epnet import EPNet
from tfmtl.layers.experts import Experts
from tfmtl.layers.extraction import CGC, PLE
from tfmtl.layers.factorization import CIN, FactorizationMachine
from tfmtl.layers.field_attention import FieldAttention
from tfmtl.layers.field_interaction import FieldInteraction
from tfmtl.layers.field_stack import FieldStack
from tfmtl.layers.gate_nu import GateNU
from tfmtl.layers.gates import SoftmaxGate
from tfmtl.layers.interaction_bottom import InteractionBottom
from tfmtl.layers.interactions import HeterogeneousExperts
from tfmtl.layers.interactions import interaction as interaction
from tfmtl.layers.ml_mmoe import MLMMoE
from tfmtl.layers.mmoe import MMoE, OMoE
from tfmtl.layers.parallel_cross import ParallelCross
from tfmtl.layers.phn import PHN
from tfmtl.layers.ppnet import PPNet
from tfmtl.layers.private_bottoms import Asymmetric, Customized
from tfmtl.layers.recurrent_cross import FieldRecurrentCross, RecurrentCross
from tfmtl.layers.selection import SoftSelection
from tfmtl.layers.sharing import SeparateBottoms, SharedBottom
from tfmtl.layers.sluice import Sluice
from tfmtl.layers.snr import SNR, SubNetworkRouting
from tfmtl.layers.task_gates import GlobalGates, InputGates
from tfmtl.layers.towers import Tower

__all__ = [
    "AITM",
    "CGC",
    "CIN",
    "DCRNN",
    "DNN",
    "PHN",
    "PLE",
    "SNR",
    "Asymmetric",
    "Cross",
    "CrossMix",
    "CrossStitch",
    "CrossV2",
    "Customized",
    "DomainTower",
    "EPNet",
    "Experts",
    "FactorizationMachine",
    "FeatureEmbedding",
    "FieldAttention",
    "FieldInteraction",
    "FieldRecurrentCross",
    "FieldStack",
    "GateNU",
    "GlobalGates",
    "HeterogeneousExperts",
    "InformationTransfer",
    "InputGates",
    "InteractionBottom",
    "MLMMoE",
    "MMoE",
    "OMoE",
    "PPNet",
    "ParallelCross",
    "RecurrentCross",
    "SeparateBottoms",
    "SharedBottom",
    "Sluice",
    "SoftSelection",
    "SoftmaxGate",
    "SubNetworkRouting",
    "Tower",
]
