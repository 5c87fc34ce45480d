"""One way to build and call every public layer, for the contract battery."""

import numpy as np

from tfmtl import Categorical, Numeric, Sequence, layers

TASKS = ["click", "like"]


def _random(*shape):
    return np.random.default_rng(1).normal(size=shape).astype("float32")


X = _random(6, 5)
VECTORS = {"user": _random(6, 4), "tab": _random(6, 3), "x": _random(6, 1)}
CROSS_AND_FIELD = ("parallel_cross", "field_interaction")
WEIGHTLESS = ["FactorizationMachine", "SequencePooling"]
NORMALISED_BY_BATCH = ["PartitionedNormalization", "STAR", "HoME", "NormalisedExperts"]
# Training differs without any dropout.
NOISY = ["SNR", "SubNetworkRouting", *NORMALISED_BY_BATCH]
DOMAIN = np.array([0, 1, 2, 2, 1, 0])
SEQUENCE = [
    _random(6, 5, 4),
    np.array(
        [[1, 1, 1, 1, 0], [1, 0, 0, 0, 0], [0] * 5, [1] * 5, [0, 1, 1, 0, 1], [1] * 5]
    ),
]

# name -> (function that makes the layer, positional inputs of 6 rows)
CASES = {
    "DNN": (lambda **kw: layers.DNN((8, 4), **kw), [X]),
    "FeatureEmbedding": (
        lambda **kw: layers.FeatureEmbedding(
            [
                Categorical("user", vocabulary_size=10, embedding_dim=4),
                Categorical("item", num_buckets=7, embedding_dim=3),
                Numeric("x"),
                Numeric("age", boundaries=(-1, 0, 1), embedding_dim=4),
                Sequence("seen", of="item", max_length=3),
                Sequence(
                    "liked",
                    of="user",
                    max_length=2,
                    pooling="target_attention",
                    target="owner",
                ),
                Categorical("owner", vocabulary_size=10, embedding_dim=4, table="user"),
                Categorical(
                    "tag", num_buckets=9, embedding_dim=4, num_hashes=2, table="tags"
                ),
                Categorical("word", vocabulary_size=4, oov_buckets=3, embedding_dim=2),
                Categorical("raw", capacity=16, embedding_dim=2),
            ],
            **kw,
        ),
        [
            {
                "user": np.array([0, 1, 2, 9, 4, 5]),
                "item": np.array([0, 1, 2, 3, 700, 5]),
                "x": X[:, 0],
                "age": np.array([np.nan, -2.0, -0.5, 0.0, 0.5, 2.0], "float32"),
                "liked": np.array([[1, 2], [3, 0], [0, 0], [4, 40], [1, 1], [6, 5]]),
                "owner": np.array([1, 1, 2, 3, 9, 10]),
                "tag": np.array([0, 1, 2**40, -3, 700, 5]),
                "word": np.array([0, 1, 2, 3, 4, 500]),
                "raw": np.array([0, 1, 2, 3, 4, 500]),
                "seen": np.array(
                    [[1, 2, 0], [3, 0, 0], [0] * 3, [4] * 3, [1] * 3, [6] * 3]
                ),
            }
        ],
    ),
    "PiecewiseLinear": (
        lambda **kw: layers.PiecewiseLinear([(-1, 0, 1), (0, 1)], 4, **kw),
        [np.array([[np.nan, 0.5], [-2, 2], [-0.5, 0], [0, np.nan], [0.5, 1], [2, 3]])],
    ),
    "TargetAttention": (
        lambda **kw: layers.TargetAttention(5, "tanh", **kw),
        [
            _random(6, 4),
            _random(6, 3, 4),
            np.array([[1, 1, 0], [1, 0, 0], [0] * 3, [1] * 3, [0, 1, 1], [1] * 3]),
        ],
    ),
    "SequencePooling": (lambda **kw: layers.SequencePooling("max", **kw), SEQUENCE),
    "DIEN": (lambda **kw: layers.DIEN(3, **kw), [_random(6, 2), *SEQUENCE]),
    "BST": (lambda **kw: layers.BST(2, 2, 6, **kw), [_random(6, 4), *SEQUENCE]),
    "SASRec": (lambda **kw: layers.SASRec(1, 2, 6, **kw), SEQUENCE),
    "ETA": (
        lambda **kw: layers.ETA(2, 8, 5, "tanh", **kw),
        [_random(6, 4), *SEQUENCE],
    ),
    "SIM": (
        lambda **kw: layers.SIM(2, 5, "tanh", **kw),
        [_random(6, 4), *SEQUENCE, SEQUENCE[1][::-1].copy()],
    ),
    "AutoDis": (
        lambda **kw: layers.AutoDis(4, 3, **kw),
        [np.array([[np.nan, 0.5], [-2, 2], [-0.5, 0], [0, np.nan], [0.5, 1], [2, 3]])],
    ),
    "VectorEmbedding": (
        lambda **kw: layers.VectorEmbedding(3, **kw),
        [np.where(np.arange(6)[:, None] == 2, np.nan, X)],
    ),
    "Experts": (lambda **kw: layers.Experts(3, (8, 4), **kw), [X]),
    "SoftmaxGate": (lambda **kw: layers.SoftmaxGate(3, **kw), [X, _random(6, 3, 4)]),
    "CGC": (
        lambda **kw: layers.CGC(TASKS, 2, {"click": 1, "like": 3}, (8,), True, **kw),
        [X],
    ),
    "PLE": (lambda **kw: layers.PLE(TASKS, 2, 1, ((8,), (8, 6)), **kw), [X]),
    "AdaTT": (lambda **kw: layers.AdaTT(TASKS, 1, 2, ((8,), (6,)), **kw), [X]),
    "STEM": (
        lambda **kw: layers.STEM(TASKS, 1, {"click": 1, "like": 2}, ((8,), (6,)), **kw),
        [{"click": X, "like": _random(6, 5), "shared": X[::-1].copy()}],
    ),
    "NormalisedExperts": (lambda **kw: layers.NormalisedExperts(3, 4, 3, **kw), [X]),
    "HoME": (
        lambda **kw: layers.HoME(
            TASKS, {"one": ["click"], "other": ["like"]}, 1, 2, 1, 8, 4, 3, **kw
        ),
        [X],
    ),
    "DBMTL": (lambda **kw: layers.DBMTL(TASKS, None, (8,), (6,), (4,), **kw), [X]),
    "ResFlow": (lambda **kw: layers.ResFlow(TASKS, (8, 4), **kw), [X]),
    "SharedBottom": (lambda **kw: layers.SharedBottom(TASKS, (8, 4), **kw), [X]),
    "Tower": (lambda **kw: layers.Tower((8,), **kw), [X]),
    "ParallelCross": (lambda **kw: layers.ParallelCross(2, **kw), [X]),
    "SoftSelection": (lambda **kw: layers.SoftSelection(2, **kw), [_random(6, 3, 4)]),
    "GlobalGates": (
        lambda **kw: layers.GlobalGates(TASKS, 2, **kw),
        [[X, _random(6, 3)]],
    ),
    "InputGates": (
        lambda **kw: layers.InputGates(TASKS, 2, **kw),
        [X, [X, _random(6, 3)]],
    ),
    "PHN": (
        lambda **kw: layers.PHN(
            TASKS, ("dnn", "fm"), (*CROSS_AND_FIELD, {"name": "cin"}), (8, 4), 2, **kw
        ),
        [_random(6, 3, 4)],
    ),
    "SeparateBottoms": (lambda **kw: layers.SeparateBottoms(TASKS, (8, 4), **kw), [X]),
    "Asymmetric": (lambda **kw: layers.Asymmetric(TASKS, "like", (8, 4), **kw), [X]),
    "Customized": (lambda **kw: layers.Customized(TASKS, (8, 4), **kw), [X]),
    "CrossStitch": (lambda **kw: layers.CrossStitch(TASKS, (8, 4), 0.7, **kw), [X]),
    "Sluice": (lambda **kw: layers.Sluice(TASKS, (8, 8), 0.1, **kw), [X]),
    "SubNetworkRouting": (
        lambda **kw: layers.SubNetworkRouting(TASKS, **kw),
        [_random(6, 3, 4)],
    ),
    "SNR": (lambda **kw: layers.SNR(TASKS, 3, ((8,), (6,)), "aver", **kw), [X]),
    "MMoE": (lambda **kw: layers.MMoE(TASKS, 3, (8, 4), **kw), [X]),
    "OMoE": (lambda **kw: layers.OMoE(TASKS, 3, (8, 4), **kw), [X]),
    "MLMMoE": (lambda **kw: layers.MLMMoE(TASKS, 3, ((8,), (4,)), **kw), [X]),
    "InformationTransfer": (
        lambda **kw: layers.InformationTransfer(["click", "like"], **kw),
        [X, _random(6, 3)],
    ),
    "AITM": (lambda **kw: layers.AITM(TASKS, (8, 4), **kw), [X]),
    "Cross": (lambda **kw: layers.Cross(2, **kw), [X]),
    "CrossV2": (lambda **kw: layers.CrossV2(2, rank=2, **kw), [X]),
    "CrossMix": (lambda **kw: layers.CrossMix(2, 3, 2, **kw), [X]),
    "RecurrentCross": (lambda **kw: layers.RecurrentCross(2, 4, rank=2, **kw), [X]),
    "FieldRecurrentCross": (
        lambda **kw: layers.FieldRecurrentCross(5, "lstm", True, **kw),
        [_random(6, 3, 4)],
    ),
    "FieldStack": (
        lambda **kw: layers.FieldStack(**kw),
        [{"item": _random(6, 4), "user": _random(6, 3), "age": X[:, :1]}],
    ),
    "FieldInteraction": (
        lambda **kw: layers.FieldInteraction(2, **kw),
        [_random(6, 3, 4)],
    ),
    "FactorizationMachine": (
        lambda **kw: layers.FactorizationMachine(**kw),
        [_random(6, 3, 4)],
    ),
    "CIN": (lambda **kw: layers.CIN((5, 2), **kw), [_random(6, 3, 4)]),
    "FieldAttention": (
        lambda **kw: layers.FieldAttention(2, 2, 3, **kw),
        [_random(6, 3, 4)],
    ),
    "HeterogeneousExperts": (
        lambda **kw: layers.HeterogeneousExperts(
            ["cin", {"name": "cross_v2", "depth": 1}, layers.DNN((8,), **kw)], 4, **kw
        ),
        [_random(6, 3, 4)],
    ),
    "InteractionBottom": (
        lambda **kw: layers.InteractionBottom(
            ["cin", {"name": "cross_v2", "depth": 1}, layers.DNN((8,), **kw)], **kw
        ),
        [VECTORS],
    ),
    "DCRNN": (lambda **kw: layers.DCRNN(TASKS, units=(8, 4), **kw), [X]),
    "GateNU": (lambda **kw: layers.GateNU(3, 2.0, 4, **kw), [X]),
    "EPNet": (lambda **kw: layers.EPNet(["tab"], **kw), [VECTORS]),
    "PPNet": (
        lambda **kw: layers.PPNet(
            TASKS, {"click": (8, 4), "like": (6,)}, ["user"], **kw
        ),
        [X, VECTORS, VECTORS],
    ),
    "DomainTower": (
        lambda **kw: layers.DomainTower(3, (8, 4), **kw),
        [X, DOMAIN],
    ),
    "PartitionedNormalization": (
        lambda **kw: layers.PartitionedNormalization(3, **kw),
        [X, DOMAIN],
    ),
    "SARNet": (lambda **kw: layers.SARNet(TASKS, 3, 2, 2, (8, 4), **kw), [X, DOMAIN]),
    "HiNet": (
        lambda **kw: layers.HiNet(TASKS, 3, 2, (8, 4), 1, 2, (6,), **kw),
        [X, DOMAIN],
    ),
    "M3oE": (lambda **kw: layers.M3oE(TASKS, 3, 8, 4, 3, 6, **kw), [X, DOMAIN]),
    "M2M": (
        lambda **kw: layers.M2M(TASKS, 3, (8, 4), 3, 2, **kw),
        [X, _random(6, 3)],
    ),
    "AdaSparse": (
        lambda **kw: layers.AdaSparse(TASKS, (8, 4), epsilon=0.9, **kw),
        [X, _random(6, 3)],
    ),
    "APG": (lambda **kw: layers.APG(TASKS, (8, 4), 3, 6, **kw), [X, _random(6, 3)]),
    "StarTower": (lambda **kw: layers.StarTower(3, (8,), **kw), [X, DOMAIN]),
    "STAR": (lambda **kw: layers.STAR(TASKS, 3, (8, 4), (), **kw), [X, DOMAIN]),
}
