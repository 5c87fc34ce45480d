"""Any tfmtl architecture inside a `tfrs.Model`, for TensorFlow Recommenders' users.

    {feature: tensor} -> KerasLayer (a Keras 2 layer around the Keras 3 model)
                      -> {task: (batch, 1)}
                      -> one tfrs.tasks.Ranking a task -> loss and metrics

tensorflow-recommenders is written for Keras 2, tfmtl for Keras 3. Both run in one
process if the environment variable TF_USE_LEGACY_KERAS=1 is set before TensorFlow is
imported: `tf.keras` and `tf_keras` are Keras 2 then, `keras` stays Keras 3. What they
share are TensorFlow's variables.
"""

import importlib.util

import keras
import tensorflow as tf

from tfmtl import _errors
from tfmtl.models.base import MultiTaskModel
from tfmtl.tasks import Task

for _package in ("tensorflow_recommenders", "tf_keras"):
    if importlib.util.find_spec(_package) is None:
        raise ModuleNotFoundError(
            f"tfmtl.integrations.tfrs needs the package {_package}. Install it with: "
            "pip install 'tfmtl[tfrs]'",
            name=_package,
        )
if tf.keras.Model is keras.Model:
    raise ImportError(
        "tfmtl.integrations.tfrs needs TF_USE_LEGACY_KERAS=1 in the environment before "
        "TensorFlow is imported, since tensorflow-recommenders runs on Keras 2 only. "
        "Received: a process in which tf.keras is Keras 3. Start it as "
        "`TF_USE_LEGACY_KERAS=1 python ...`, or put "
        "os.environ['TF_USE_LEGACY_KERAS'] = '1' above all imports. `keras` and tfmtl "
        "stay on Keras 3."
    )

import tensorflow_recommenders as tfrs  # noqa: E402
import tf_keras  # noqa: E402


class KerasLayer(tf_keras.layers.Layer):
    """A Keras 2 layer around a multi-task model of Keras 3.

    For a `tfrs.Model` of your own; `RankingModel` is one that is ready. Both share one
    set of variables: what is trained or loaded here, `model` has too. Losses that the
    model's layers add are losses of this layer. Weights that `model` freezes stay so.

    Args:
        model: `MultiTaskModel`.
        name: String. Defaults to the model's name.

    Call arguments:
        inputs: Dict {feature: tensor}, see `tfmtl.layers.FeatureEmbedding`.

    Returns:
        Dict {task: float32 tensor of shape (batch, 1)}.

    Example:
    >>> import tfmtl
    >>> make = tfmtl.models.get("single_task")
    >>> model = make([tfmtl.Numeric("x")], [tfmtl.Task("click")])
    >>> layer = KerasLayer(model)
    >>> layer({"x": tf.constant([1.0, 2.0])})["click"].shape
    TensorShape([2, 1])
    >>> len(layer.trainable_variables) == len(model.trainable_variables)
    True
    """

    def __init__(self, model: MultiTaskModel, name=None):
        if not isinstance(model, MultiTaskModel):
            raise ValueError(
                "KerasLayer needs a tfmtl.MultiTaskModel, such as tfmtl.models.get("
                f"'ple')(features, tasks). Received: {model!r}."
            )
        # Autocasting would make a float32 of an id before it is read.
        super().__init__(name=name or model.name, autocast=False)
        _attach(self, "model", model)
        # The seeds of dropout too, but not metrics.
        metrics = {id(variable) for variable in model.metrics_variables}
        self.state = [v.value for v in model.variables if id(v) not in metrics]

    @tf.autograph.experimental.do_not_convert  # Keras 3 and tfmtl need none of it
    def call(self, inputs, training=None):
        """Maps {feature: tensor} to {task: (batch, 1)}."""
        outputs = self.model(inputs, training=training)
        # Gradients of replicas are summed, as everywhere in Keras 2.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self.add_loss([loss / replicas for loss in self.model.losses])
        return outputs

    @property
    def trainable_weights(self):
        """The model's trainable weights, as `tf.Variable`s."""
        weights = self.model.trainable_weights if self.trainable else []
        return [weight.value for weight in weights]

    @property
    def non_trainable_weights(self):
        """All other state but that of metrics, as `tf.Variable`s."""
        trainable = {id(weight) for weight in self.trainable_weights}
        return [weight for weight in self.state if id(weight) not in trainable]


class KerasMetric(tf_keras.metrics.Metric):
    """A Keras 2 metric around a metric of Keras 3, such as `tfmtl.metrics.AUC`.

    Args:
        metric: `keras.metrics.Metric`.

    Example:
    >>> import tfmtl
    >>> metric = KerasMetric(tfmtl.metrics.AUC(name="click_auc"))
    >>> _ = metric.update_state([0.0, 1.0, 1.0], [0.1, 0.3, 0.05])
    >>> metric.name, float(metric.result())
    ('click_auc', 0.5)
    """

    def __init__(self, metric: keras.metrics.Metric):
        super().__init__(name=metric.name, dtype=metric.dtype)
        _attach(self, "metric", metric)
        self.state = [variable.value for variable in metric.variables]

    @tf.autograph.experimental.do_not_convert
    def update_state(self, y_true, y_pred, sample_weight=None):
        """Passes the rows on."""
        self.metric.update_state(y_true, y_pred, sample_weight=sample_weight)

    @tf.autograph.experimental.do_not_convert
    def result(self):
        """Returns what the metric returns."""
        return self.metric.result()

    def reset_state(self):
        """Forgets all rows."""
        self.metric.reset_state()


class TaskLoss(tf_keras.losses.Loss):
    """The loss of a task: its mean over rows by weight, 0 if all weigh 0.

    Keras 2 would divide by all rows of the batch, so that a task seen on a few of them
    would learn slowly.

    Args:
        task: `Task`.

    Example:
    >>> loss = TaskLoss(Task("rating", kind="regression"))
    >>> float(loss([4.0, 5.0], [4.0, 2.0], sample_weight=[0.0, 1.0]))
    9.0
    """

    def __init__(self, task: Task):
        super().__init__(name=f"{task.name}_loss")
        of_rows = task.logits == 1 and not task.predicts_quantiles
        if len(task.loss) > 1 or not of_rows or task.outside:
            raise ValueError(
                "A TaskLoss compares labels with predictions of rows in their space, "
                "one by one. Received: task "
                f"{task.name!r} with the losses {[loss.name for loss in task.loss]} "
                f"and outside={task.outside}."
            )
        self.task = task

    def call(self, y_true, y_pred):
        """Returns the loss of each row."""
        (loss,) = self.task.loss
        return loss.weight * loss.of_rows(y_true, y_pred)

    def __call__(self, y_true, y_pred, sample_weight=None):
        """Returns the mean over rows by weight, a scalar."""
        losses = self.call(_flat(y_true), _flat(y_pred))
        if sample_weight is None:
            return tf.reduce_mean(losses)
        weight = _flat(sample_weight)
        # Selected, not multiplied: a loss outside that overflows, times 0, is NaN.
        losses = tf.where(weight > 0, losses, 0.0)
        total = tf.reduce_sum(losses * weight)
        return total / tf.maximum(tf.reduce_sum(weight), 1e-9)


class RankingModel(tfrs.Model):
    """A `tfrs.Model` of any tfmtl architecture, one `tfrs.tasks.Ranking` a task.

    A step is what the architecture's own `fit` does: sample spaces, missing labels
    (NaN), task weights, losses of layers, what an architecture adds to its tasks'
    losses, ESMM's loss over the entire space, DEPHN's virtual gradient. The optimizer
    is one of Keras 2 or TFRS; gradients of embedding tables reach it sparse, as
    `tf.IndexedSlices`. Logs have `{task}_loss` beside the metrics and TFRS's `loss`,
    `regularization_loss` and `total_loss`.

    Args:
        model: `MultiTaskModel`. Shares its variables, so that after `fit` it is
            trained, and `model.save`, `tfmtl.export` and `model.gate_report` see that.
        rankings: Dict {task: `tfrs.tasks.Ranking`} for tasks that are to have another
            loss or other metrics. Its metrics see the rows of the task, weighted;
            a loss of Keras 2 is a mean over all rows of the batch, see `TaskLoss`.
            Defaults to the loss and metric of the `Task`.
        name: String. Defaults to the model's name.

    Labels and sample weights: as for `MultiTaskModel`, as a dataset of (features,
    labels) or (features, labels, sample_weight).

    Example:
    >>> import tfmtl
    >>> model = tfmtl.models.get("shared_bottom")(
    ...     features=[tfmtl.Categorical("item", vocabulary_size=100)],
    ...     tasks=[tfmtl.Task("click"), tfmtl.Task("like", space="click")],
    ... )
    >>> ranking = RankingModel(model)
    >>> ranking.compile(tf_keras.optimizers.Adagrad(0.1))
    >>> items, ones = tf.range(8), tf.ones(8)
    >>> _ = ranking.fit({"item": items}, {"click": ones, "like": ones}, verbose=0)
    >>> ranking.predict({"item": items}, verbose=0)["like"].shape
    (8, 1)

    Raises:
        ValueError: If `rankings` names a task that the model does not have.
    """

    def __init__(self, model: MultiTaskModel, rankings=None, name=None):
        super().__init__(name=name or getattr(model, "name", None), autocast=False)
        self.layer = KerasLayer(model)
        rankings = dict(rankings or {})
        for key in rankings:
            _errors.check_choice("Each key of `rankings`", key, model.task_metrics)
        for task in model.tasks:
            if task.name not in rankings:
                rankings[task.name] = tfrs.tasks.Ranking(
                    loss=TaskLoss(task),
                    metrics=_plain_metrics(model, task),
                    name=task.name,
                )
        self.rankings = rankings
        self.task_losses = {
            task.name: tf_keras.metrics.Mean(name=f"{task.name}_loss")
            for task in model.tasks
        }

    def compile(self, optimizer="rmsprop", **kwargs):
        """Configures training, as `tf_keras.Model.compile`."""
        if isinstance(optimizer, keras.optimizers.Optimizer):
            raise ValueError(
                "TFRS's `fit` takes an optimizer of tf_keras or TFRS, such as "
                "tf_keras.optimizers.Adagrad(0.1). Received one of Keras 3: "
                f"{type(optimizer).__name__}."
            )
        super().compile(optimizer, **kwargs)

    def fit(self, *args, **kwargs):
        """Trains, as `tf_keras.Model.fit`; calibrations are forgotten as in ours."""
        self.model.reset_calibrations()
        return super().fit(*args, **kwargs)

    @property
    def model(self) -> MultiTaskModel:
        """The Keras 3 model, with the same variables."""
        return self.layer.model

    @property
    def embedding_trainable_variables(self) -> list[tf.Variable]:
        """The embedding tables, for `CompositeOptimizer`; as `tfrs...Ranking` has."""
        tables = self.model.embedding.tables.values()
        return [table.value for table in tables if table.trainable]

    @property
    def dense_trainable_variables(self) -> list[tf.Variable]:
        """All trainable variables but the embedding tables."""
        tables = {id(table) for table in self.embedding_trainable_variables}
        return [v for v in self.trainable_variables if id(v) not in tables]

    def call(self, inputs, training=None):
        """Maps {feature: tensor} to {task: (batch, 1)}."""
        return self.layer(inputs, training=training)

    @tf.autograph.experimental.do_not_convert
    def compute_loss(self, inputs, training=False):
        """Returns sum_k weight_k L_k, and what the architecture adds; updates metrics.

        TFRS calls this.

        Args:
            inputs: Tuple (features, labels) or (features, labels, sample_weight).
            training: Boolean. Defaults to False.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(inputs)
        scope = self.model.evaluation_scope()
        if training:
            scope = self.model.training_scope(x, y, sample_weight)
        with scope:
            predictions = self(x, training=training)
        rows = self.model.loss_rows(x, y, predictions, sample_weight)
        # ESMM learns a task from more rows than it is measured on.
        measured = MultiTaskModel.loss_rows(
            self.model, x, y, predictions, sample_weight
        )
        total = 0.0
        for task in self.model.tasks:
            ranking = self.rankings[task.name]
            label, prediction, weight = _columns(rows[task.name])
            loss = ranking(label, prediction, weight, compute_metrics=False)
            loss = tf.reduce_mean(loss)  # of a loss that is not reduced yet
            self.task_losses[task.name].update_state(loss, tf.reduce_sum(weight))
            ranking(*_columns(measured[task.name]))
            total += task.weight * loss
        total = total / tf.distribute.get_strategy().num_replicas_in_sync
        # Those of layers are losses of `self.layer`, which TFRS adds.
        given = x, y, predictions, sample_weight
        of_layers = MultiTaskModel.compute_other_loss(self.model, *given)
        return total + self.model.compute_other_loss(*given) - of_layers


def _attach(owner, name, value):
    """Sets an attribute past Keras 2, which would take Keras 3's weights for its own.

    Their `tf.Variable`s are tracked instead, in a list: names would differ between two
    models of one process, and so would the checkpoint's keys.
    """
    object.__setattr__(owner, name, value)


def _columns(rows):
    """Maps (batch,) to (batch, 1), as Keras 2 takes the last axis for that of units."""
    label, prediction, weight = rows
    return tf.expand_dims(label, -1), tf.expand_dims(prediction, -1), weight


def _flat(x):
    return tf.reshape(tf.cast(x, tf.float32), (-1,))


def _plain_metrics(model, task):
    """Returns the task's metrics but for those by user or domain, which need ids."""
    return [
        KerasMetric(metric)
        for spec, metric in zip(
            task.metric_specs, model.task_metrics[task.name], strict=True
        )
        if not spec.group and not spec.domain
    ]
