"""Another value of every argument of every layer, for the contract battery."""

from keras.saving import serialize_keras_object as serialize
from layer_cases import TASKS

from tfmtl import Categorical

# {argument: another value}, and {layer: {argument: another value}} where it is not fit.
ANY_LAYER = {
    "tasks": [*TASKS, "share"],
    "units": (6, 4),
    "activation": "sigmoid",
    "dropout": 0.5,
    "experts": 2,
    "depth": 1,
    "heads": 1,
    "logits": 2,
    "domains": 4,
    "rank": 1,
    "labels": ["a", "b", "c"],
    "expert_units": (6,),
    "own_weight": 0.6,
    "penalty": 0.5,
    "cell": "simple",
    "copies": 2,
    "gamma": 3.0,
    "hidden_units": 3,
    "shared_ratio": 0.25,
    "embedding_input": "none",
}
LAYERS = {
    "FeatureEmbedding": {
        "features": [
            serialize(Categorical(name, num_buckets=9, embedding_dim=2))
            for name in ("user", "item", "owner")
        ],
        "initializer": "ones",
    },
    "PiecewiseLinear": {"boundaries": [(-1, 0, 1), (0, 2)], "dim": 3},
    "TargetAttention": {"units": 4},
    "SequencePooling": {"pooling": "sum"},
    "DIEN": {"units": 4},
    "BST": {"blocks": 1},
    "SASRec": {"blocks": 2},
    "ETA": {"items": 1, "bits": 5, "units": 4},
    "SIM": {"items": 1, "units": 4},
    "AutoDis": {"dim": 3, "meta_embeddings": 2, "temperature": 0.5, "skip": 0.1},
    "VectorEmbedding": {"units": 4},
    "SoftmaxGate": {"experts": None},  # must be as many as the input has
    "CGC": {
        "tasks": None,  # task_experts names them too
        "shared_experts": 1,
        "task_experts": {"click": 2, "like": 3},
        "shared_gate": False,
    },
    "PLE": {
        "shared_experts": 1,
        "task_experts": 2,
        "tasks": ["click", "share"],
        "expert_units": ((8,),),
    },
    "AdaTT": {"shared_experts": 0, "task_experts": 1, "expert_units": ((8,),)},
    "STEM": {
        "shared_experts": 2,
        "task_experts": 1,
        "tasks": None,  # the input names them too
        "expert_units": ((8,),),
    },
    "NormalisedExperts": {"units": 3, "gate_rank": 2},
    "HoME": {
        "tasks": None,  # groups names them too
        "groups": {"one": ["click", "like"]},
        "shared_experts": 2,
        "group_experts": 1,
        "task_experts": 2,
        "group_units": 6,
        "task_units": 3,
        "gate_rank": 2,
    },
    "DBMTL": {"parents": {}, "shared_units": (), "relation_units": (5,)},
    "GlobalGates": {"coefficient": "mul_abs", "experts": None, "labels": ["a", "b"]},
    "InputGates": {"experts": None, "labels": ["a", "b"]},
    "SoftSelection": {"labels": ["a", "b", "c"]},
    "PHN": {
        "public": ["dnn"],
        "private": ["cin"],
        "mappings": ["raw"],
        "gates": None,  # another kind takes no coefficient
        "coefficient": "mul_abs",
        "fields": ["a", "b", "c"],
        "depth": 3,
    },
    "Asymmetric": {"source": "click", "fuse": "sum"},
    "Sluice": {"units": (4, 4)},
    "SubNetworkRouting": {"receivers": ["a"], "connection": "aver"},
    "SNR": {"subnetworks": 2, "units": ((6,), (6,)), "connection": "trans"},
    "MLMMoE": {"expert_units": ((8,),)},
    "InformationTransfer": {"labels": ["a", "b"]},
    # Without copies there is nothing to share.
    "RecurrentCross": {"steps": 1, "units": 3, "shared_ratio": None},
    "FieldRecurrentCross": {"units": 3, "shared_ratio": None, "bidirectional": False},
    "FieldStack": {"dim": 5},
    "CIN": {"units": (3,)},
    "FieldAttention": {"units": 2},
    "HeterogeneousExperts": {"interactions": ["cin"], "units": 3},
    "InteractionBottom": {"interactions": ["cin"]},
    "DCRNN": {
        "cross": None,  # the other cross reads fields
        "bidirectional": None,  # an option of the other cross
        "steps": 1,
        "state_units": 5,
        "share_mode": "layer",
        "task_recurrence": False,
    },
    "GateNU": {"units": 5},
    "EPNet": {"domain_features": ["x"], "field_wise": True},
    "PPNet": {
        "tasks": None,  # units names them too
        "units": {"click": (8, 5), "like": (6,)},
        "prior_features": ["tab"],
    },
    "PartitionedNormalization": {
        "momentum": None,  # counts from the second batch on
        "epsilon": 0.1,
    },
    "M2M": {"knowledge_units": 2},
    "AdaSparse": {"form": "binary", "alpha": 2.0, "beta": 3.0, "epsilon": 0.5},
    "APG": {"rank": 2, "inner_units": 0},
    "SARNet": {"shared_experts": 1, "domain_experts": 1},
    "HiNet": {
        "tasks": ["click", "share"],
        "subexperts": 3,
        "subexpert_units": (8, 5),
        "shared_experts": 2,
        "task_experts": {"click": 1, "like": 2},
        "expert_units": (5,),
    },
    "M3oE": {"domain_units": 6, "units": 5, "shared_experts": 2, "expert_units": 5},
    "STAR": {"auxiliary_units": (3,), "normalise": False},
}


def other(layer, argument):
    """Returns another value of an argument of a layer, or None if there is none."""
    return {**ANY_LAYER, **LAYERS.get(layer, {})}[argument]
