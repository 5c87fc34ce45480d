"""DeepCTR on legacy Keras: `compile` and `fit` on prebatched tensors in memory.

Variants: "adam", as its users have it, and "adam+8+jit", eight steps between callbacks
and XLA. Its L2 penalty of the embeddings is off: nobody else has one.
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import in_memory
import tables
import tensorflow as tf
import worker
from deepctr.feature_column import DenseFeat, SparseFeat
from deepctr.models.multitask import ple
from deepctr.models.multitask.mmoe import MMOE
from deepctr.models.multitask.sharedbottom import SharedBottom


def make(case, features, tasks):
    options = case["options"]
    common = {
        "dnn_feature_columns": features,
        "tower_dnn_hidden_units": tuple(case["tower"]),
        "l2_reg_embedding": 0,
        "task_types": ["binary"] * len(tasks),
        "task_names": tasks,
    }
    if case["architecture"] == "shared_bottom":
        return SharedBottom(bottom_dnn_hidden_units=options["units"], **common)
    if case["architecture"] == "mmoe":
        return MMOE(
            num_experts=options["experts"],
            expert_dnn_hidden_units=options["expert_units"],
            **common,
        )
    # Its PLE has experts of one size on both levels; a DNN of the second level, known
    # by its name, gets the second size.
    first, second = options["expert_units"]
    dnn = ple.DNN

    def sized(units, *args, name="", **kwargs):
        if name.startswith("level_1_") and "expert" in name:
            units = second
        return dnn(units, *args, name=name, **kwargs)

    ple.DNN = sized
    try:
        return ple.PLE(
            shared_expert_num=options["shared_experts"],
            specific_expert_num=options["task_experts"],
            num_levels=2,
            expert_dnn_hidden_units=first,
            **common,
        )
    finally:
        ple.DNN = dnn


def build(case):
    tf.keras.backend.clear_session()
    ids, numbers, labels, sizes = tables.load(case["data"])
    features = [
        SparseFeat(f"id_{i}", vocabulary_size=rows, embedding_dim=sizes["dim"])
        for i, rows in enumerate(sizes["vocabulary"])
    ]
    features += [DenseFeat(f"number_{i}") for i in range(numbers.shape[1])]
    tasks = [f"task_{i}" for i in range(labels.shape[1])]
    model = make(case, features, tasks)
    model.compile(
        tf.keras.optimizers.Adam(1e-3),
        dict.fromkeys(tasks, "bce"),
        steps_per_execution=8 if "+8" in case["variant"] else 1,
        jit_compile="+jit" in case["variant"],
    )
    columns = [*ids.T.astype("int32"), *numbers.T]
    x = {f.name: c[:, None] for f, c in zip(features, columns, strict=True)}
    y = {task: label[:, None] for task, label in zip(tasks, labels.T, strict=True)}
    return in_memory.trained(model, case, x, y)


if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(2)
    tf.config.threading.set_inter_op_parallelism_threads(2)
    worker.serve(build)
