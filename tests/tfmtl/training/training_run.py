"""A training as a process of its own: to be killed, or one of several workers.

python training_run.py FOLDER kill STEP         is killed after so many steps
python training_run.py FOLDER worker NUMBER PORT PORT
"""

import json
import os
import signal
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import tfmtl
from tfmtl.training import Checkpoints

FEATURES = [tfmtl.Categorical("item", vocabulary_size=20), tfmtl.Numeric("x")]
TASKS = [tfmtl.Task("click"), tfmtl.Task("like", space="click")]
ROWS, BATCH, EPOCHS, STEPS = 100, 8, 3, 9  # of 13 a pass


def write_records(folder):
    """Writes two files; `like` has rows only in the first half of a batch."""
    random = np.random.default_rng(0)
    for i in range(2):
        with tf.io.TFRecordWriter(str(folder / f"{i}.tfrecord")) as writer:
            for row in range(ROWS // 2):
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
    checkpoints = Checkpoints(folder / name, "loss")
    first = checkpoints.resume(model)
    model.fit(
        records(folder, shuffle=30, seed=5, start=first * STEPS),
        initial_epoch=first,
        epochs=EPOCHS,
        steps_per_epoch=STEPS,
        shuffle=False,
        callbacks=[checkpoints, *callbacks],
        verbose=0,
    )
    return model, checkpoints


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
        np.savez(folder / f"weights-{number}.npz", *weights)
        (folder / f"history-{number}.json").write_text(json.dumps(history))
