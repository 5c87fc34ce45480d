"""The model that every architecture is."""

import contextlib
import inspect

import keras
import tensorflow as tf
from keras import ops

from tfmtl import _errors, optimizers
from tfmtl.features import check_features
from tfmtl.gate_report import gate_report
from tfmtl.layers.embedding import FeatureEmbedding, rows_of_table
from tfmtl.layers.field_stack import FieldStack
from tfmtl.layers.interaction_bottom import InteractionBottom
from tfmtl.layers.interactions import takes_fields
from tfmtl.layers.towers import Tower
from tfmtl.models.personalization import make_epnet, make_ppnet
from tfmtl.rows import completion, labels_and_masks, weigh
from tfmtl.tasks import check_tasks
from tfmtl.training import (
    Fixed,
    GradientBalancing,
    LossWeighting,
    WeightingEpochs,
    weighting,
)
from tfmtl.training.workers import LearnsOnWorkers, replica_share, replica_shares

_FIXED = Fixed()


class MultiTaskModel(LearnsOnWorkers, keras.Model):
    """Features in, one prediction a task out, with any sharing structure between.

        inputs {feature: tensor}
          -> FeatureEmbedding      {feature: (batch, dim)}, joined to (batch, width)
          -> [EPNet]               the same, scaled by the domain
          -> [interactions]        (batch, width), crosses of all features
          -> sharing structure     {task: (batch, units)}
          -> towers [PPNet]        {task: (batch, 1)} logits
        outputs {task: (batch, 1)} probabilities, or values of regressions

    An ordinary `keras.Model`: `compile`, `fit`, `evaluate`, `predict` and `save` work
    as usual. The architectures are subclasses that bring their sharing structure, but
    any layer that maps (batch, width) to {task: (batch, units)} will do, or, if it has
    the attribute `takes_fields = True`, one that maps (batch, fields, dim). The loss is
    sum_k weight_k L_k, PLE's eq. 8; see `tfmtl.Task` for L_k, and `compile` for other
    ways to weigh the tasks.

    Args:
        features: List of `Categorical`, `Numeric` and `Sequence`.
        tasks: List of `Task`.
        sharing: Layer. Maps (batch, width) to {task: (batch, units)}.
        name: String. Defaults to the class's name.
        epnet: Dict of options of `tfmtl.layers.EPNet`, which then scales the embedding
            by the domain. Defaults to none.
        ppnet: Dict of options of `tfmtl.layers.PPNet`, which then scales the hidden
            layers of the towers by user and item. Defaults to none.
        interactions: List of feature interactions below the sharing structure, such as
            ["cross_v2", "dnn"], see `tfmtl.layers.InteractionBottom`. Defaults to none.

    Call arguments:
        inputs: Dict {feature: tensor}, see `FeatureEmbedding`.

    Labels, in `fit` and `evaluate`: a dict with each task's label column and the
    columns of sample spaces, row weights and durations, of shape (batch,) or (batch,
    1). NaN means missing. A `sample_weight` of shape (batch,) weighs the rows of every
    task, a dict {label column: (batch,)} those of each, beside a task's `row_weight`.

    Example:
    >>> import tfmtl
    >>> tasks = [tfmtl.Task("click"), tfmtl.Task("like", space="click")]
    >>> model = MultiTaskModel(
    ...     [tfmtl.Categorical("item", vocabulary_size=100)],
    ...     tasks,
    ...     sharing=tfmtl.layers.SharedBottom(["click", "like"], units=(16,)),
    ... )
    >>> model.compile()
    >>> items = keras.ops.arange(8)
    >>> labels = {"click": keras.ops.ones(8), "like": keras.ops.zeros(8)}
    >>> _ = model.fit({"item": items}, labels, verbose=0)
    >>> model.predict({"item": items}, verbose=0)["like"].shape
    (8, 1)
    """

    loss_weighting = _FIXED  # until `compile` says otherwise

    def __new__(cls, *args, **kwargs):
        """Keeps the arguments for `get_config`, so that no subclass needs its own."""
        model = super().__new__(cls, *args, **kwargs)
        for key in kwargs:
            _errors.check_choice(f"An argument of {cls.__name__}", key, cls.arguments())
        bound = inspect.signature(cls.__init__).bind(model, *args, **kwargs)
        arguments = dict(list(bound.arguments.items())[1:])
        arguments.update(arguments.pop("kwargs", {}))
        check_features(arguments["features"])
        check_tasks(arguments["tasks"])
        model._arguments = arguments
        return model

    @classmethod
    def arguments(cls) -> list[str]:
        """Returns the names of the arguments that the model is built with."""
        parameters = dict(inspect.signature(cls.__init__).parameters)
        if parameters.pop("kwargs", None):  # which go to the base
            base = dict(inspect.signature(MultiTaskModel.__init__).parameters)
            del base["sharing"]
            parameters.update(base)
        return [name for name in parameters if name != "self"]

    def __init__(
        self,
        features,
        tasks,
        sharing,
        name=None,
        epnet=None,
        ppnet=None,
        interactions=None,
    ):
        super().__init__(name=name)
        self.features = list(features)
        self.tasks = list(tasks)
        self.embedding = self.make_embedding()
        self.sharing = sharing
        self.bottom = self.make_bottom(interactions)
        self.epnet = make_epnet(epnet, self.features)
        self.ppnet = make_ppnet(ppnet, self.features, self.tasks)
        self.towers = {
            # PPNet has taken over the hidden layers.
            task.name: self.make_tower(task.name, () if self.ppnet else task.tower)
            for task in tasks
        }
        self.task_losses = {
            task.name: keras.metrics.Mean(name=f"{task.name}_loss") for task in tasks
        }
        self.task_metrics = {
            task.name: [form.metric(task.name, features) for form in task.metric_forms]
            for task in tasks
        }
        # The features say all shapes, so the weights exist from the start.
        self({f.name: keras.KerasTensor((None, *f.shape), f.dtype) for f in features})

    def make_embedding(self):
        """Returns the layer that maps {feature: tensor} to {feature: (batch, dim)}."""
        return FeatureEmbedding(self.features, name="embedding")

    def make_bottom(self, interactions):
        """Returns what makes one tensor of {feature: (batch, dim)}; None joins them."""
        if takes_fields(self.sharing):
            if interactions:
                raise ValueError(
                    "Interactions below a sharing structure make one vector of all "
                    f"fields, which {type(self.sharing).__name__} reads one by one. "
                    f"Received: interactions={interactions!r}; give them as its "
                    "experts, if it has some."
                )
            return FieldStack(name="fields")
        if interactions is None:
            return None
        return InteractionBottom(interactions, name="interactions")

    def make_tower(self, task, units):
        """Returns the layer that maps (batch, units) of a task to (batch, 1)."""
        return Tower(units, name=f"{task}_tower")

    def build(self, input_shape=None):
        """Does nothing: calling the model once, in `__init__`, has built it."""

    def call(self, inputs, training=None):
        """Maps {feature: tensor} to {task: (batch, 1)}."""
        vectors = self.embedding(inputs)  # {feature: (B, dim)}
        return self.above(vectors, inputs, training)

    def above(self, vectors, inputs, training=None):
        """Maps {feature: (batch, dim)} to {task: (batch, 1)}: all but the lookups."""
        scaled = self.epnet(vectors) if self.epnet else vectors
        shared = self.share(scaled, training)  # {task: (B, units)}
        if self.ppnet:
            shared = self.ppnet(shared, vectors, scaled)
        return self.predict_tasks(self.score(shared, inputs))

    def share(self, vectors, training=None):
        """Maps {feature: (batch, dim)} to {task: (batch, units)}."""
        if self.bottom:
            x = self.bottom(vectors)  # (B, width), or (B, fields, dim)
        else:
            x = ops.concatenate(list(vectors.values()), axis=-1)  # (B, width)
        return self.sharing(x, training=training)

    def score(self, shared, inputs):
        """Maps {task: (batch, units)} to {task: (batch, 1)} logits."""
        return {name: tower(shared[name]) for name, tower in self.towers.items()}

    def predict_tasks(self, logits):
        """Maps {task: (batch, 1)} logits to predictions; a chain of them goes here."""
        return {task.name: task.activate(logits[task.name]) for task in self.tasks}

    def start_at(self, means):
        """Lets the predictions of an untrained model start near the tasks' means.

        A task of 0.3 % positives else spends its first steps on learning that, and
        bends the shared layers to it. Sets the biases of the towers' logits.

        Args:
            means: Dict {task: float}. The mean label, such as the rate of positives.
        """
        for task in self.tasks:
            if task.name in means:
                bias = self.towers[task.name].output_bias
                bias.assign(ops.full(bias.shape, task.logit_of(means[task.name])))

    def compile(self, optimizer="lazy_adam", loss_weighting="fixed", **kwargs):
        """Configures training; without arguments: `LazyAdam`, learning rate 1e-3.

        Args:
            optimizer: String, one of `tfmtl.optimizers.names()` or of Keras's, or a
                `keras.optimizers.Optimizer`.
            loss_weighting: A `tfmtl.training.LossWeighting`, or its name, one of
                `tfmtl.training.weightings()`. Defaults to "fixed", `Task.weight`.
            **kwargs: Passed to `keras.Model.compile`. Losses and metrics belong to the
                tasks, so `loss` is refused. With `jit_compile=True`, XLA compiles a
                training step except for the lookups and updates of tables.
        """
        if kwargs.get("loss") is not None:
            raise ValueError(
                "A loss belongs to its task: Task(..., loss=...). Received: "
                f"loss={kwargs['loss']!r} in compile()."
            )
        if isinstance(loss_weighting, str):
            loss_weighting = weighting(loss_weighting)
        if not isinstance(loss_weighting, LossWeighting):
            raise ValueError(
                "loss_weighting must be a name or a tfmtl.training.LossWeighting. "
                f"Received: {loss_weighting!r}."
            )
        if loss_weighting is not self.loss_weighting:
            loss_weighting.start(self.tasks, super().trainable_weights)
            # Not as a layer of the model, whose weights are what is served. It is saved
            # all the same, and learnt by way of `trainable_weights`.
            object.__setattr__(self, "loss_weighting", loss_weighting)
        if optimizer in optimizers.names():
            optimizer = optimizers.get(optimizer)
        super().compile(optimizer=optimizer, **kwargs)
        # XLA would copy whole tables, so `train_step` compiles only the rest.
        self._jit_above, self.jit_compile = self.jit_compile, False
        self.optimizer.build(self.trainable_weights)

    def get_compile_config(self):
        """Returns the arguments of `compile`."""
        config = super().get_compile_config()
        if config:
            config["loss_weighting"] = keras.saving.serialize_keras_object(
                self.loss_weighting
            )
        return config

    def compile_from_config(self, config):
        """Compiles a loaded model as it was; Keras calls this."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    def training_scope(self, x, y, sample_weight=None):
        """Returns the context in which a training step calls the model.

        For an architecture whose forward pass must know the batch's labels, such as
        DEPHN. Whoever writes a training step of their own enters it.
        """
        return contextlib.nullcontext()

    @property
    def trainable_weights(self):
        """What the optimizer learns: the layers' weights, the loss weighting's."""
        return [*super().trainable_weights, *self.loss_weighting.trainable_weights]

    def fit(self, *args, **kwargs):
        """Trains, as `keras.Model.fit`; a loss weighting is told of every epoch."""
        if isinstance(self.loss_weighting, Fixed):
            return super().fit(*args, **kwargs)
        given = inspect.signature(super().fit).bind(*args, **kwargs).arguments
        callbacks = given.get("callbacks")
        epochs = WeightingEpochs()
        if isinstance(callbacks, keras.callbacks.CallbackList):
            epochs.set_model(self)
            callbacks.callbacks.insert(0, epochs)
        else:
            callbacks = [epochs, *keras.tree.flatten(callbacks or [])]
        return super().fit(**{**given, "callbacks": callbacks})

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """Returns the weighted sum of the tasks' losses, plus `compute_other_loss`.

        In training as the loss weighting has it; else sum_k weight_k L_k, so that
        epochs can be compared.
        """
        losses, rows = self.compute_task_losses(x, y, y_pred, sample_weight)
        weighting = self.loss_weighting if training else _FIXED
        shares = replica_shares(rows)
        of_all = {name: loss * shares[name] for name, loss in losses.items()}
        total = weighting.total(self.tasks, of_all, rows)
        if training:
            weighting.update(losses, rows)
        return total + self.compute_other_loss(x, y, y_pred, sample_weight)

    def compute_task_losses(self, x, y, y_pred, sample_weight=None):
        """Returns {task: L_k} and {task: the sum of its rows' weights}, scalars."""
        losses, weights = {}, {}
        rows = self.loss_rows(x, y, y_pred, sample_weight)
        for task in self.tasks:
            label, prediction, weight = rows[task.name]
            loss = task.row_loss(label, prediction)
            total = ops.sum(weight)
            mean = ops.sum(loss * weight) / ops.maximum(total, 1e-9)
            self.task_losses[task.name].update_state(mean, total)
            losses[task.name], weights[task.name] = mean, total
        return losses, weights

    def compute_other_loss(self, x, y, y_pred, sample_weight=None):
        """Returns what belongs to no one task: the losses that layers have added."""
        return replica_share() * ops.sum(ops.stack([*self.losses, 0.0]))

    def train_step(self, data):
        """Runs a training step; lookups and updates of tables stay outside of XLA."""
        if isinstance(self.loss_weighting, GradientBalancing):
            return self.loss_weighting.train_step(self, data)
        if not self._jit_above or replica_share() < 1:
            return super().train_step(data)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        tables = self.embedding.trainable_weights
        in_tables = {id(weight) for weight in tables}
        others = [w for w in self.trainable_weights if id(w) not in in_tables]

        def differentiate(vectors, x, y, sample_weight):
            with tf.GradientTape() as tape:
                tape.watch(vectors)
                y_pred = self.above(vectors, x, training=True)
                loss = self._compute_loss(x, y, y_pred, sample_weight, training=True)
                rows = tf.shape(next(iter(y_pred.values())))[0]
                self._loss_tracker.update_state(loss, sample_weight=rows)
                loss = self.optimizer.scale_loss(loss)
            self.compute_metrics(x, y, y_pred, sample_weight)
            return tape.gradient(loss, (vectors, [w.value for w in others]))

        with tf.GradientTape() as tape:
            vectors = self.embedding(x)  # {feature: (B, dim)}
        # Made anew in every trace: it may capture tensors of the outer graph.
        compiled = tf.function(differentiate, jit_compile=True, autograph=False)
        towards_vectors, gradients = compiled(vectors, x, y, sample_weight)
        gradients += tape.gradient(vectors, [w.value for w in tables], towards_vectors)
        self.optimizer.apply(gradients, others + tables)
        return self.get_metrics_result()

    def loss_rows(self, x, y, y_pred, sample_weight=None):
        """Returns {task: (label, prediction, weight)}, each (batch,), for the loss."""
        rows = {
            name: (label, ops.squeeze(y_pred[name], -1), weight)
            for name, (label, weight) in self._rows(x, y, sample_weight).items()
        }
        for task in self.tasks:
            if task.duration is not None:
                *seconds, weight = rows[task.name]
                y = self._labels(y)
                ratios = (completion(task, each, y, x) for each in seconds)
                rows[task.name] = (*ratios, weight)
        return rows

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Updates each task's metrics with the rows in its sample space."""
        rows = self._rows(x, y, sample_weight)
        by_name = {feature.name: feature for feature in self.features}
        for task in self.tasks:
            metrics = self.task_metrics[task.name]
            for form, metric in zip(task.metric_forms, metrics, strict=True):
                label, weight = rows[task.name]
                ids = {}
                if form.domain:
                    domain = by_name[form.domain]
                    ids["domain"] = rows_of_table(x[form.domain], domain)
                if form.group:
                    # Id 0, missing or unknown, is many users and not one.
                    ids["group"] = ops.reshape(x[form.group], (-1,))
                    weight = ops.where(ids["group"] != 0, weight, 0.0)
                metric.update_state(label, y_pred[task.name], weight, **ids)
        return self.get_metrics_result()

    def _rows(self, x, y, sample_weight):
        """Returns {task: (label, weight)}; rows outside the sample space weigh 0."""
        rows = labels_and_masks(self.tasks, self._labels(y), x)
        if sample_weight is not None:
            for task in self.tasks:
                label, mask = rows[task.name]
                weight = sample_weight
                if isinstance(weight, dict):  # Keras spreads one weight over all labels
                    weight = weight[task.label]
                weight = ops.reshape(ops.cast(weight, "float32"), (-1,))
                rows[task.name] = (label, weigh(mask, weight, task))
        return rows

    def _labels(self, y):
        """Returns the labels as a dict; a single task's may come bare."""
        if isinstance(y, dict):
            return y
        if len(self.tasks) > 1 or y is None:
            labels = [task.label for task in self.tasks]
            raise ValueError(
                f"Labels must be a dict with the keys {labels}. Received: "
                f"{type(y).__name__}."
            )
        return {self.tasks[0].label: y}

    def gate_report(self, data, domain=None):
        """Returns the mean and deviation of every gate's weights over a dataset.

        As in PLE's figure 8: which experts does a task use, and in which domain?

        Args:
            data: Dict of feature arrays, or a dataset of such dicts, or of (features,
                labels).
            domain: String. A categorical feature by whose ids the report is broken
                down too. Defaults to no breakdown.

        Returns:
            {gate: {"labels": list of n strings, "rows": integer, "mean": (n,), "std":
            (n,), "domains": {id: {"rows", "mean", "std"}}}}.

        Raises:
            ValueError: If the model has no gates.
        """
        return gate_report(self, data, domain)

    def get_config(self):
        """Returns every argument that was given."""
        return {
            key: keras.saving.serialize_keras_object(value)
            for key, value in self._arguments.items()
        }

    @classmethod
    def from_config(cls, config):
        """Builds the model from `get_config`'s dict."""
        return cls(
            **{
                key: keras.saving.deserialize_keras_object(value)
                for key, value in config.items()
            }
        )
