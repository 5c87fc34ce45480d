"""Keras layers, one concept a file; each also works in any functional model."""

from tfmtl.layers.blocks.dnn import DNN
from tfmtl.layers.blocks.experts import Experts, NormalisedExperts
from tfmtl.layers.blocks.gate_nu import GateNU
from tfmtl.layers.blocks.gates import SoftmaxGate
from tfmtl.layers.blocks.partitioned_normalization import PartitionedNormalization
from tfmtl.layers.blocks.soft_selection import SoftSelection
from tfmtl.layers.blocks.task_gates import GlobalGates, InputGates
from tfmtl.layers.blocks.tower import Tower
from tfmtl.layers.embedding.autodis import AutoDis
from tfmtl.layers.embedding.feature_embedding import FeatureEmbedding
from tfmtl.layers.embedding.field_stack import FieldStack
from tfmtl.layers.embedding.piecewise_linear import PiecewiseLinear
from tfmtl.layers.embedding.vector_embedding import VectorEmbedding
from tfmtl.layers.interactions.cross import Cross, CrossMix, CrossV2
from tfmtl.layers.interactions.field_attention import FieldAttention
from tfmtl.layers.interactions.field_interaction import FieldInteraction
from tfmtl.layers.interactions.fm_cin import CIN, FactorizationMachine
from tfmtl.layers.interactions.interaction_bottom import InteractionBottom
from tfmtl.layers.interactions.parallel_cross import ParallelCross
from tfmtl.layers.interactions.recurrent_cross import (
    FieldRecurrentCross,
    RecurrentCross,
)
from tfmtl.layers.interactions.registry import HeterogeneousExperts
from tfmtl.layers.interactions.registry import interaction as interaction
from tfmtl.layers.sequences.dien import DIEN
from tfmtl.layers.sequences.eta import ETA
from tfmtl.layers.sequences.pooling import SequencePooling
from tfmtl.layers.sequences.registry import sequence_encoder as sequence_encoder
from tfmtl.layers.sequences.sim import SIM
from tfmtl.layers.sequences.target_attention import TargetAttention
from tfmtl.layers.sequences.transformer import BST, SASRec
from tfmtl.layers.structures.adasparse import AdaSparse
from tfmtl.layers.structures.adatt import AdaTT
from tfmtl.layers.structures.aitm import AITM, InformationTransfer
from tfmtl.layers.structures.apg import APG
from tfmtl.layers.structures.asymmetric import Asymmetric, Customized
from tfmtl.layers.structures.cross_stitch import CrossStitch
from tfmtl.layers.structures.dbmtl import DBMTL
from tfmtl.layers.structures.dcrnn import DCRNN
from tfmtl.layers.structures.domain_tower import DomainTower
from tfmtl.layers.structures.epnet import EPNet
from tfmtl.layers.structures.hinet import HiNet
from tfmtl.layers.structures.home import HoME
from tfmtl.layers.structures.m2m import M2M
from tfmtl.layers.structures.m3oe import M3oE
from tfmtl.layers.structures.ml_mmoe import MLMMoE
from tfmtl.layers.structures.mmoe import MMoE, OMoE
from tfmtl.layers.structures.phn import PHN
from tfmtl.layers.structures.ple import CGC, PLE
from tfmtl.layers.structures.ppnet import PPNet
from tfmtl.layers.structures.resflow import ResFlow
from tfmtl.layers.structures.sar_net import SARNet
from tfmtl.layers.structures.shared_bottom import SeparateBottoms, SharedBottom
from tfmtl.layers.structures.sluice import Sluice
from tfmtl.layers.structures.snr import SNR, SubNetworkRouting
from tfmtl.layers.structures.star import STAR, StarTower
from tfmtl.layers.structures.stem import STEM

__all__ = [
    "AITM",
    "APG",
    "BST",
    "CGC",
    "CIN",
    "DBMTL",
    "DCRNN",
    "DIEN",
    "DNN",
    "ETA",
    "M2M",
    "PHN",
    "PLE",
    "SNR",
    "STAR",
    "STEM",
    "AdaSparse",
    "AdaTT",
    "Asymmetric",
    "AutoDis",
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
    "HiNet",
    "HoME",
    "InformationTransfer",
    "InputGates",
    "InteractionBottom",
    "M3oE",
    "MLMMoE",
    "MMoE",
    "NormalisedExperts",
    "OMoE",
    "PPNet",
    "ParallelCross",
    "PartitionedNormalization",
    "PiecewiseLinear",
    "RecurrentCross",
    "ResFlow",
    "SARNet",
    "SASRec",
    "SIM",
    "SeparateBottoms",
    "SequencePooling",
    "SharedBottom",
    "Sluice",
    "SoftSelection",
    "SoftmaxGate",
    "StarTower",
    "SubNetworkRouting",
    "TargetAttention",
    "Tower",
    "VectorEmbedding",
]
