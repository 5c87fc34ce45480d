"""tfmtl: `compile` and `fit` on prebatched tensors in memory, 8 steps an execution.

Variants: "adam", "lazy_adam", "sgd"; with "+jit" at the end, XLA is on.
"""

import in_memory
import keras
import tables
import tensorflow as tf
import worker

import tfmtl


def build(case):
    keras.utils.clear_session()
    ids, numbers, labels, sizes = tables.load(case["data"])
    features = [
        tfmtl.Categorical(f"id_{i}", vocabulary_size=rows, embedding_dim=sizes["dim"])
        for i, rows in enumerate(sizes["vocabulary"])
    ]
    features += [tfmtl.Numeric(f"number_{i}") for i in range(numbers.shape[1])]
    tasks = [
        tfmtl.Task(f"task_{i}", tower=tuple(case["tower"]))
        for i in range(labels.shape[1])
    ]
    model = tfmtl.models.get(case["architecture"])(features, tasks, **case["options"])
    optimizer, _, jit = case["variant"].partition("+")
    model.compile(
        {
            "adam": lambda: keras.optimizers.Adam(1e-3),
            "lazy_adam": lambda: tfmtl.optimizers.LazyAdam(1e-3),
            "sgd": lambda: keras.optimizers.SGD(1e-2),
        }[optimizer](),
        steps_per_execution=8,
        jit_compile=bool(jit),
    )
    columns = [*ids.T.astype(features[0].dtype), *numbers.T]
    x = {feature.name: x for feature, x in zip(features, columns, strict=True)}
    y = {task.name: y for task, y in zip(tasks, labels.T, strict=True)}
    return in_memory.trained(model, case, x, y)


if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(2)
    tf.config.threading.set_inter_op_parallelism_threads(2)
    worker.serve(build)
