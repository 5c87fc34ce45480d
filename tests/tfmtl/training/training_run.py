"""A training as a process of its own: to be killed, or one of several workers.

python training_run.py FOLDER kill STEP         is killed after so many steps
python training_run.py FOLDER worker NUMBER PORT PORT
"""

import dataclasses
import json
import os
import signal
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import tfmtl
from tfmtl.layers.embedding import sharded_table
from tfmtl.training import Checkpoints

FEATURES = [tfmtl.Categorical("item", vocabulary_size=20), tfmtl.Numeric("x")]
TASKS = [tfmtl.Task("click"), tfmtl.Task("like", space="click")]
ROWS, BATCH, EPOCHS, STEPS = 101, 8, 3, 9  # of 13 a pass, the last of 5 rows


def write_records(folder):
    """Writes two files; `like` has rows only in the first half of a batch."""
    random = np.random.default_rng(0)
    for i in range(2):
        with tf.io.TFRecordWriter(str(folder / f"{i}.tfrecord")) as writer:
            for row in range(ROWS // 2 + i):
                click = float(row % BATCH < BATCH // 2)
                columns = {
                    "x": [random.normal()],
                    "click": [click],
                    "like": [float(random.random() < 0.4)],
                }
                feature = {
                    name: tf.train.Feature(float_list=tf.train.FloatList(value=value))
                    for name, value in columns.items()
                }
                feature["item"] = tf.train.Feature(
                    int64_list=tf.train.Int64List(value=[random.integers(20)])
                )
                example = tf.train.Example(features=tf.train.Features(feature=feature))
                writer.write(example.SerializeToString())


def records(folder, **options):
    return tfmtl.data.read(
        str(folder / "*.tfrecord"), FEATURES, TASKS, BATCH, rows=ROWS, **options
    )


class Noisy(keras.layers.Layer):
    """SNR draws its connections anew in each step; dropout comes on top."""

    def __init__(self):
        super().__init__(name="noisy")
        self.snr = tfmtl.layers.SNR(["click", "like"], 2, ((8,), (4,)))
        self.dropout = keras.layers.Dropout(0.3)

    def build(self, input_shape):
        self.snr.build(input_shape)

    def call(self, x, training=None):
        shared = self.snr(x, training=training)
        return {
            task: self.dropout(rows, training=training) for task, rows in shared.items()
        }


def noisy_model(seed):
    keras.utils.set_random_seed(seed)
    model = tfmtl.MultiTaskModel(FEATURES, TASKS, Noisy())
    # The gradients of a few steps wait when an epoch ends, and so are saved.
    options = {"use_ema": True, "gradient_accumulation_steps": 2}
    model.compile(tfmtl.optimizers.LazyAdam(0.01, **options))
    return model


class Kill(keras.callbacks.Callback):
    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        self.step -= 1
        if not self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def train(folder, name, seed, *callbacks):
    """Fits, from a checkpoint if there is one; returns the model."""
    model = noisy_model(seed)
    checkpoints = Checkpoints(folder / name, "loss", steps=2)
    first = checkpoints.resume(model)
    done = first * STEPS + checkpoints.step
    model.fit(
        records(folder, shuffle=30, seed=5, start=done),
        initial_epoch=first,
        epochs=EPOCHS,
        steps_per_epoch=STEPS,
        shuffle=False,
        callbacks=[checkpoints, *callbacks],
        verbose=0,
    )
    return model, checkpoints


def train_on_shares(folder):
    """Fits by what each worker reads of its own; returns the weights."""

    def share(context):
        place = context.input_pipeline_id, context.num_input_pipelines
        files, size = str(folder / "*.tfrecord"), BATCH // place[1]
        return tfmtl.data.read(files, FEATURES, TASKS, size, shard=place, start=0)

    here = tf.distribute.get_strategy()
    return train_on_batches(here.distribute_datasets_from_function(share))


def train_on_batches(data):
    """Fits a small model by three batches; returns the weights."""
    keras.utils.set_random_seed(1)
    tasks = [dataclasses.replace(task, tower=()) for task in TASKS]
    model = tfmtl.MultiTaskModel(FEATURES, tasks, Scaled(("click", "like")))
    model.compile(keras.optimizers.SGD(0.5))
    model.fit(data, steps_per_epoch=3, shuffle=False, verbose=0)
    return model.get_weights()


def train_on_workers(folder, name):
    """Fits, evaluates and saves what came out, under the strategy in scope."""
    keras.utils.set_random_seed(1)
    model = tfmtl.models.get("snr")(FEATURES, TASKS, subnetworks=2, units=((8,), (4,)))
    # XLA would take longer to compile than this to run.
    options = {"use_ema": True, "gradient_accumulation_steps": 2}
    model.compile(tfmtl.optimizers.LazyAdam(0.01, **options), jit_compile=False)
    data = records(folder)
    checkpoints = Checkpoints(folder / name, "val_click_auc")
    options = {"epochs": 2, "callbacks": [checkpoints], "verbose": 0, "shuffle": False}
    history = model.fit(data, validation_data=data, **options).history
    return model.get_weights(), history


def train_sharded(folder, name):
    """Fits tables that workers share; returns the model and its checkpoints."""
    keras.utils.set_random_seed(1)
    of = {"embedding_dim": 4, "sharded": True}
    features = [
        tfmtl.Categorical("item", vocabulary_size=21, **of),
        tfmtl.Categorical("user", num_buckets=9, num_hashes=2, **of),
        tfmtl.Sequence("seen", of="item", max_length=3),
        tfmtl.Categorical("query", capacity=16, pass_steps=3, **of),
        tfmtl.Sequence("queries", of="query", max_length=3),
        tfmtl.Categorical("tab", vocabulary_size=4, embedding_dim=4),
        tfmtl.Categorical("phrase", capacity=8, embedding_dim=4),
    ]
    random, n = np.random.default_rng(0), BATCH * 3 + 2
    x = {f.name: random.integers(0, 30, (n, *f.shape)) for f in features}
    y = {task.name: random.integers(0, 2, n).astype("float32") for task in TASKS}
    model = tfmtl.models.get("shared_bottom")(features, TASKS, units=(8,))
    model.compile(tfmtl.optimizers.LazyAdam(0.01))
    checkpoints = Checkpoints(folder / name, "val_loss")
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH)
    options = {"epochs": 2, "callbacks": [checkpoints], "verbose": 0, "shuffle": False}
    model.fit(data, validation_data=data, **options)
    return model, checkpoints


def share_tables(folder):
    """Trains sharded tables as one of two workers; returns what there is to tell."""
    sharded_table.PART = 5  # so that a table is read and written in several parts
    model, checkpoints = train_sharded(folder, "sharded")
    weights = model.get_weights()
    checkpoints.resume(model)
    after = model.get_weights()
    return {
        "history": checkpoints.history,
        "rows": {name: t.shape[0] for name, t in model.embedding.tables.items()},
        "same": [np.array_equal(*pair) for pair in zip(weights, after, strict=True)],
        "refusals": refusals(model),
    }


def refusals(model):
    """What a worker says of what cannot be done with a part of a table."""
    x = {f.name: tf.ones((1, *f.shape), "int64") for f in model.features}
    optimizers = tfmtl.optimizers
    calls = [
        lambda: model(x),
        lambda: tfmtl.export(model, "nowhere"),
        lambda: model.compile("adam"),
        lambda: model.compile(optimizers.LazyAdam(clipnorm=1.0)),
        lambda: model.compile(loss_weighting="pcgrad"),
    ]
    messages = []
    for call in calls:
        try:
            call()
        except ValueError as error:
            messages.append(str(error))
    return messages


class Scaled(keras.layers.Layer):
    """All that the tasks share, beside a table."""

    def __init__(self, tasks):
        super().__init__()
        self.tasks = tasks

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones")

    def call(self, x):
        return dict.fromkeys(self.tasks, x * self.scale)


def balance():
    """A step under each strategy, one after another, of a model with a table.

    Returns:
        {strategy: the weights behind its step, one after another}.
    """
    keras.utils.set_random_seed(1)
    tasks = [tfmtl.Task("u", tower=()), tfmtl.Task("v", tower=(), weight=2.0)]
    model = tfmtl.MultiTaskModel(FEATURES, tasks, Scaled("uv"))
    names = tfmtl.training.weightings()
    strategies = [tfmtl.training.weighting(name) for name in names]
    optimizer, learnt = keras.optimizers.SGD(0.5), model.trainable_weights
    for strategy in strategies:
        strategy.start(tasks, model.trainable_weights)
        learnt += strategy.trainable_weights
    optimizer.build(learnt)
    model.compile(optimizer)
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, (2, BATCH)).astype("float32")
    labels[1, BATCH // 2 :] = np.nan  # v has no rows in the second worker's half
    x = {"item": random.integers(0, 5, BATCH), "x": np.float32(random.normal(size=8))}
    batch = tf.data.Dataset.from_tensors((x, {"u": labels[0], "v": labels[1]}))
    batch = batch.unbatch().batch(BATCH)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.DATA
    )
    here = tf.distribute.get_strategy()

    def learn(*data):
        weights = []
        for strategy in strategies:
            object.__setattr__(model, "loss_weighting", strategy)
            model.train_step(data)
            parts = [tf.reshape(w, (-1,)) for w in model.trainable_weights]
            weights.append(tf.identity(tf.concat(parts, 0)))
        return weights

    step = tf.function(lambda data: here.run(learn, args=data), autograph=False)
    (data,) = here.experimental_distribute_dataset(batch.with_options(options))
    found = [here.experimental_local_results(w)[0].numpy() for w in step(data)]
    return dict(zip(names, found, strict=True))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    if sys.argv[2] == "kill":
        train(folder, "killed", 1, Kill(int(sys.argv[3])))
    else:
        number, *ports = sys.argv[3:]
        os.environ["TF_CONFIG"] = json.dumps(
            {
                "cluster": {"worker": [f"localhost:{port}" for port in ports]},
                "task": {"type": "worker", "index": int(number)},
            }
        )
        with tf.distribute.MultiWorkerMirroredStrategy().scope():
            weights, history = train_on_workers(folder, "workers")
            balanced = balance()
            of_shares = train_on_shares(folder)
            told = share_tables(folder)
        (folder / f"sharded-{number}.json").write_text(json.dumps(told))
        np.savez(folder / f"balanced-{number}.npz", **balanced)
        np.savez(folder / f"shares-{number}.npz", *of_shares)
        np.savez(folder / f"weights-{number}.npz", *weights)
        (folder / f"history-{number}.json").write_text(json.dumps(history))
