"""A TensorFlow Recommenders model whose inside is one of tfmtl's.

Clicks and likes of a simulated shop, learnt by PLE inside a `tfrs.Model`, with TFRS's
optimizers and `fit`, and exported for TensorFlow Serving. Takes some seconds:

    pip install 'tfmtl[tfrs]'
    python examples/tfrs_ranking.py
"""

import os

# tensorflow-recommenders runs on Keras 2. This must stand before TensorFlow is
# imported; `keras` and tfmtl stay on Keras 3.
os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras

import tfmtl
from tfmtl.integrations.tfrs import RankingModel

USERS, ITEMS, ROWS = 200, 100, 30_000


def simulate(seed):
    """Returns impressions: features, and labels of which a like needs a click."""
    rng = np.random.default_rng(seed)
    tastes = np.random.default_rng(0)  # the same users and items for every seed
    user_taste = tastes.normal(size=(USERS, 2))
    item_style = tastes.normal(size=(ITEMS, 2))
    user, item = rng.integers(0, USERS, ROWS), rng.integers(0, ITEMS, ROWS)
    fits = (user_taste[user] * item_style[item]).sum(1)
    click = rng.random(ROWS) < 1 / (1 + np.exp(1.5 - 1.5 * fits))
    like = click & (rng.random(ROWS) < 1 / (1 + np.exp(1 - 2 * item_style[item, 0])))
    features = {"user_id": user, "item_id": item}
    labels = {"click": click.astype("float32"), "like": like.astype("float32")}
    return tf.data.Dataset.from_tensor_slices((features, labels))


train = simulate(1).shuffle(ROWS, seed=1).batch(250)
test = simulate(2).batch(1000)

# 1. A tfmtl model. Another architecture is another name; "like" is learnt and measured
#    on clicked rows only.
model = tfmtl.models.get("ple")(
    features=[
        tfmtl.Categorical("user_id", vocabulary_size=USERS, embedding_dim=8),
        tfmtl.Categorical("item_id", vocabulary_size=ITEMS, embedding_dim=8),
    ],
    tasks=[
        tfmtl.Task("click", tower=(16,)),
        tfmtl.Task("like", space="click", tower=(16,)),
    ],
    expert_units=((32,),),
)

# 2. Inside a tfrs.Model, which trains it as any other: here with Adagrad on the
#    embedding tables, whose cost does not grow with their size, and Adam on the rest.
ranking = RankingModel(model)
ranking.compile(
    tfrs.experimental.optimizers.CompositeOptimizer(
        [
            (
                tf_keras.optimizers.legacy.Adagrad(0.1),
                lambda: ranking.embedding_trainable_variables,
            ),
            (
                tf_keras.optimizers.legacy.Adam(0.005),
                lambda: ranking.dense_trainable_variables,
            ),
        ]
    )
)
ranking.fit(train, epochs=6, verbose=2)
metrics = ranking.evaluate(test, return_dict=True, verbose=0)
print(f"click AUC {metrics['click_auc']:.3f}, like AUC {metrics['like_auc']:.3f}")

# 3. The Keras 3 model has learnt, too: all of tfmtl is open to it.
for gate, weights in model.gate_report(test).items():
    shares = zip(weights["labels"], weights["mean"], strict=True)
    print(gate, *(f"{label}: {mean:.2f}" for label, mean in shares))
tfmtl.export(model, "exported")
print("Exported to ./exported, for TensorFlow Serving.")
