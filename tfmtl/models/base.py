"""The model that every architecture is."""

import inspect

import keras
from keras import ops

from tfmtl import _errors, calibration
from tfmtl.features import check_domain, check_features, input_specs
from tfmtl.gate_health import gate_health
from tfmtl.gate_report import gate_report
from tfmtl.layers.blocks.layer import written
from tfmtl.layers.blocks.tower import Tower
from tfmtl.layers.embedding.feature_embedding import FeatureEmbedding
from tfmtl.layers.embedding.field_stack import FieldStack
from tfmtl.layers.embedding.table_rows import rows_of_table
from tfmtl.layers.interactions.interaction_bottom import InteractionBottom
from tfmtl.layers.interactions.registry import takes_fields
from tfmtl.models.arguments import OfTheClass, docstring_of
from tfmtl.models.personalization import make_epnet, make_ppnet
from tfmtl.models.summary import summary
from tfmtl.models.trainer import MultiTaskTrainer
from tfmtl.tasks import check_tasks


@keras.saving.register_keras_serializable("tfmtl.models")
class MultiTaskModel(MultiTaskTrainer):
    """Features in, one prediction a task out, with any sharing structure between.

        inputs {feature: tensor}
          -> FeatureEmbedding      {feature: (batch, dim)}, joined to (batch, width)
          -> [EPNet]               the same, scaled by the domain
          -> [interactions]        (batch, width), crosses of all features
          -> sharing structure     {task: (batch, units)}
          -> towers [PPNet]        {task: (batch, 1)} logits
          -> [calibration]         outside of training, see `calibrate`
        outputs {task: (batch, 1)} probabilities, or values of regressions;
                {task_k: (batch, 1)} of each class k

    An ordinary `keras.Model`: `compile`, `fit`, `evaluate`, `predict` and `save` work
    as usual. An architecture is a subclass that names its sharing structure, the layer
    `structure`, and takes that layer's arguments as options. But any layer that maps
    (batch, width) to {task: (batch, units)} will do, or, if it has the attribute
    `takes_fields = True`, one that maps (batch, fields, dim). The loss is
    sum_k weight_k L_k, PLE's eq. 8; see `tfmtl.Task` for L_k, and `compile` for other
    ways to weigh the tasks.

    Args:
        features: List of `Categorical`, `Numeric` and `Sequence`.
        tasks: List of `Task`.
        sharing: Layer. Maps (batch, width) to {task: (batch, units)}.
        name: String. Defaults to the architecture's name, or else the class's.
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

    architecture = None  # The name of an architecture.
    structure = None  # The layer of an architecture, whose arguments are its options.
    given = ()  # Names of arguments that an architecture gives itself.
    # Keras's own would trace the model once more in an export, with floats for ids.
    _default_save_signature = None
    __signature__ = OfTheClass()  # what `inspect.signature` and `help` show

    def __init_subclass__(cls, **kwargs):
        """Describes all arguments in the docstring."""
        super().__init_subclass__(**kwargs)
        cls.__doc__ = docstring_of(cls)

    def __new__(cls, *args, **kwargs):
        """Keeps the arguments for `get_config`, so that no subclass needs its own."""
        for key in kwargs:
            _errors.check_choice(f"An argument of {cls.__name__}", key, cls.arguments())
        try:
            bound = inspect.signature(cls).bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(
                f"{cls.__name__}: {error}. Options are given by name, as in "
                f"{cls.__name__}(features, tasks, option=...)."
            ) from error
        bound.apply_defaults()
        check_features(bound.arguments["features"])
        check_tasks(bound.arguments["tasks"])
        model = super().__new__(cls, *args, **kwargs)
        # Layers inside of lists are patterns, and no part of the model.
        model._arguments = {
            key: value if isinstance(value, keras.layers.Layer) else written(value)
            for key, value in bound.arguments.items()
        }
        return model

    @classmethod
    def arguments(cls) -> list[str]:
        """Returns the names of the arguments that the model is built with."""
        return list(inspect.signature(cls).parameters)

    def __init__(
        self,
        features,
        tasks,
        sharing=None,
        name=None,
        epnet=None,
        ppnet=None,
        interactions=None,
        **options,
    ):
        super().__init__(features, tasks, name=name or self.architecture)
        if sharing is None:
            if self.structure is None:
                raise ValueError("sharing must be a layer. Received: None.")
            names = [task.name for task in tasks]
            sharing = self.structure(names, **options, name="sharing")
        self.embedding = self.make_embedding()
        self.sharing = sharing
        self.bottom = self.make_bottom(interactions)
        self.epnet = make_epnet(epnet, self.features)
        self.ppnet = make_ppnet(ppnet, self.features, self.tasks)
        self.towers = {
            # PPNet has taken over the hidden layers.
            task.name: self.make_tower(
                task.name, () if self.ppnet else task.tower, task.logits
            )
            for task in tasks
        }
        made = {task.name: calibration.make(task, self.features) for task in tasks}
        self.calibrations = {name: layer for name, layer in made.items() if layer}
        # The features say all shapes, so the weights exist from the start.
        self(
            {
                name: keras.KerasTensor((None, *shape), dtype)
                for name, (shape, dtype) in input_specs(features).items()
            }
        )

    def __repr__(self):
        tasks = ", ".join(task.name for task in self.tasks)
        return (
            f"<{type(self).__name__} {self.name!r}: {len(self.features)} features, "
            f"tasks {tasks}, {self.count_params():,} parameters>"
        )

    def summary(self, *args, print_fn=print, **kwargs):
        """Prints features, tasks and parts; with an argument, Keras's own summary.

        Keras's lists the shape of every feature's vector in one cell of its table.

        Args:
            *args: As `keras.Model.summary`.
            print_fn: Function of the text. Defaults to `print`.
            **kwargs: As `keras.Model.summary`.
        """
        if args or kwargs:
            super().summary(*args, print_fn=print_fn, **kwargs)
        else:
            print_fn(summary(self))

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

    def make_tower(self, task, units, logits=1):
        """Returns the layer that maps (batch, units) of a task to (batch, logits)."""
        return Tower(units, logits=logits, name=f"{task}_tower")

    def build(self, input_shape=None):
        """Does nothing: calling the model once, in `__init__`, has built it."""

    def call(self, inputs, training=None):
        """Maps {feature: tensor} to {task: (batch, 1)}."""
        vectors = self.embedding(inputs)  # {feature: (B, dim)}
        return self.above(vectors, inputs, training)

    def above(self, vectors, inputs, training=None):
        """Maps {feature: (batch, dim)} to {task: (batch, 1)}: all but the lookups."""
        scaled = self.epnet(vectors) if self.epnet else vectors
        shared = self.share(scaled, inputs, training)  # {task: (B, units)}
        for task in self.tasks:
            if task.name not in shared:
                raise ValueError(
                    "A sharing structure must give something to every task. Received: "
                    f"{type(self.sharing).__name__} without {task.name!r}, for the "
                    f"tasks {[*shared]}."
                )
        if self.ppnet:
            # A structure may hand more to `score` than what its tasks read.
            shared = {**shared, **self.ppnet(shared, vectors, scaled)}
        predictions = self.predict_tasks(self.score(shared, inputs))
        for task in self.tasks:
            if task.predicts_quantiles:
                groups = self._ids(task.loss[0].group, inputs)
                found = predictions[task.name]
                predictions[task.name] = task.in_label_unit(found, groups)
        if training:  # What is learnt does not depend on a calibration.
            return predictions
        for task in self.tasks:
            found = predictions[task.name]
            prediction, logits = found[:, :1], found[:, 1:]
            if layer := self.calibrations.get(task.name):
                prediction = layer(prediction, self.calibration_domain(task, inputs))
            if task.classes and not self._with_logits:
                predictions |= task.probabilities(logits)
            if self._with_logits:
                prediction = ops.concatenate([prediction, logits], axis=-1)
            predictions[task.name] = prediction
        return predictions

    def calibration_domain(self, task, inputs):
        """Returns which calibration a row has, integers (batch,); None: all the same.

        Args:
            task: A `Task` of the model.
            inputs: Dict {feature: tensor}.
        """
        by = check_domain(self.features, task.calibration_by)
        return by and rows_of_table(ops.reshape(inputs[by.name], (-1,)), by)

    def share(self, vectors, inputs, training=None):
        """Maps {feature: (batch, dim)} to {task: (batch, units)}."""
        return self.sharing(self.joined(vectors), training=training)

    def joined(self, vectors):
        """Maps {feature: (batch, dim)} to (batch, width), or (batch, fields, dim)."""
        if self.bottom:
            return self.bottom(vectors)
        return ops.concatenate(list(vectors.values()), axis=-1)

    def score(self, shared, inputs):
        """Maps {task: (batch, units)} to {task: (batch, logits)}."""
        return {name: tower(shared[name]) for name, tower in self.towers.items()}

    def predict_tasks(self, logits):
        """Maps {task: (batch, logits)} to predictions; a chain of them goes here."""
        return {task.name: task.activate(logits[task.name]) for task in self.tasks}

    def start_at(self, means):
        """Lets the predictions of an untrained model start near the tasks' means.

        A task of 0.3 % positives else spends its first steps on learning that, bends
        the shared layers to it, and leaves units of its tower dead. Sets the biases of
        the towers' logits. The pipeline calls it; in code of your own, call it before
        `fit`.

        Args:
            means: Dict {task: float}. The mean label, such as the rate of positives.
        """
        for task in self.tasks:
            if task.name in means:
                bias = self.towers[task.name].output_bias
                logits = task.loss[0].logits_at(means[task.name])
                bias.assign(ops.broadcast_to(logits, bias.shape))

    def calibrate(self, data):
        """Fits the tasks' calibrations, anew, on rows that were not learnt from.

        From then on `predict`, `evaluate` and an export give calibrated predictions,
        and the model is saved with them. (So a loss that `evaluate` tells may rise.)
        `fit` starts from uncalibrated ones again, so call this last. Sample spaces, row
        weights, durations and missing labels count as in metrics. Each task is
        calibrated by itself, so that `p_buy <= p_click` of a chain may cease to hold.

        Args:
            data: Such as the validation split: a table with features and labels, a
                tuple (features, labels) or (features, labels, sample_weight), or a
                dataset of such tuples, in batches. It is read once, and no more than a
                million rows of each task are kept, of which neighbours are then pooled.

        Returns:
            {task: {"method", "rows", "before", "after"}} of the tasks that have a
            calibration: the sum of predictions over that of labels, NaN where labels
            sum to 0. A task with too few rows, or positives, is left as it was, and
            "reason" says why. With `Task.calibration_by`, "by" is that, and "apart" the
            ids that had ten times the rows and have a calibration of their own.

        Raises:
            ValueError: If the data have no labels.

        Example:
        >>> import tfmtl
        >>> model = tfmtl.models.get("shared_bottom")(
        ...     [tfmtl.Numeric("x")],
        ...     [tfmtl.Task("seconds", kind="regression", loss="log_mse")],
        ... )
        >>> report = model.calibrate({"x": [1.0] * 20, "seconds": [9.0] * 20})
        >>> report["seconds"]["method"], round(report["seconds"]["after"], 3)
        ('scale', 1.0)
        """
        return calibration.calibrate(self, self._batches(data))

    def gate_report(self, data, domain=None):
        """Returns the mean and deviation of every gate's weights over a dataset.

        As in PLE's figure 8: which experts does a task use, and in which domain?

        Args:
            data: Dict of feature arrays, or a dataset of such dicts, or of (features,
                labels).
            domain: String. A categorical feature by whose ids, or values of its
                vocabulary, the report is broken down too; ids that share a row of its
                table, such as all unknown ones, count as that row. Defaults to no
                breakdown.

        Returns:
            {gate: {"labels": list of n strings, "rows": integer, "mean": (n,), "std":
            (n,), "domains": {id: {"rows", "mean", "std"}}}}. It prints as a table, and
            its `plot()` draws a heat map.

        Raises:
            ValueError: If the model has no gates, or the data no rows, or not every
                feature, or if the domain is no `Categorical`.
        """
        return gate_report(self, data, domain)

    def gate_health(self, data, domain=None):
        """Returns what is wrong with the gates, experts and hidden units, in words.

        What cannot be right whatever the data: an expert that gives the same for every
        row, one that no gate uses, a shared one that a single task uses, a gate that
        does not look at the row, layers with many dead units.

        Args:
            data: Dict of feature arrays, or a dataset of such dicts, or of (features,
                labels). Read twice.
            domain: String. As for `gate_report`; an expert that is used in one domain
                is used.

        Returns:
            {"gates": what `gate_report` returns, {} without gates; "units": {layer:
            {"active": (units,) or (experts, units), the share of rows in which a unit
            is not 0; "dead": integer, units that are the same in every row}};
            "findings": list of {"check", "where", "text", "hint"}}.

        Raises:
            ValueError: As `gate_report`, but for a model without gates.

        Example:
        >>> import tfmtl
        >>> model = tfmtl.models.get("ple")([tfmtl.Numeric("x")], [tfmtl.Task("a")])
        >>> x = keras.ops.linspace(-1.0, 1.0, 100)
        >>> health = model.gate_health({"x": x})
        >>> [*health], len(health["gates"])
        (['gates', 'units', 'findings'], 3)
        """
        return gate_health(self, data, domain)

    def export(self, *args, **kwargs):
        """Refuses; `tfmtl.export(model, path)` writes what a server needs."""
        raise ValueError(
            "A model is exported by tfmtl.export(model, path): with named inputs, the "
            "signatures of a server and a model card, which keras.Model.export lacks."
        )

    def get_config(self):
        """Returns every argument."""
        return {
            key: keras.saving.serialize_keras_object(value)
            for key, value in {**self._arguments, "name": self.name}.items()
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
