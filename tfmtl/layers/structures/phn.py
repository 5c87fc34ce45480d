"""Parallel heterogeneous experts: shared and task experts of different kinds."""

import keras
from keras import ops

from tfmtl import _errors
from tfmtl.layers.blocks.explicit_mapping import check_mappings, explicit_mapping
from tfmtl.layers.blocks.layer import Layer
from tfmtl.layers.blocks.soft_selection import SoftSelection
from tfmtl.layers.blocks.task_gates import GlobalGates, InputGates
from tfmtl.layers.interactions.registry import (
    build_flat,
    call_flat,
    check_interactions,
    flat,
    flat_output_shape,
    flat_shape,
    labels_of,
    make_interactions,
)

SHARED = "shared"  # no task may have this name


@keras.saving.register_keras_serializable("tfmtl")
class PHN(Layer):
    """The parallel heterogeneous network of several tasks: DEPHN's and MT-PHN's.

        fields E -> soft selection, one for all tasks -> public experts e_k
                      -> mappings f_p(e_k) -> gates of task t, G_kp^t f_p(e_k)
                 -> soft selection of task t -> private experts e_k^t
        output of task t: all G_kp^t f_p(e_k) and all e_k^t, side by side

    With a linear tower on top this is DEPHN's eq. 4 to 6: W output + b is the sum of
    W_kp^t G_kp^t f_p(e_k) over the public and W_k^t e_k^t over the private experts.

    An expert is any interaction, see `tfmtl.layers.interaction`. The paper's are "dnn",
    dense layers with leaky ReLU (PHN, eq. 3), "parallel_cross" and "field_interaction".
    All run in parallel.

    Deviations from the paper: eq. 6 adds the probabilities of the public and the
    private part, which may exceed 1. Here the logits are added, as the derivative in
    its eq. 7 and its figure 3b imply. Widths and depths are not given there.

    Args:
        tasks: List of strings. Names of the tasks.
        public: List of the experts that all tasks share, at least one: names, dicts
            {"name": name, **options}, or layers, of which copies are built. Defaults
            to three DNNs, as drawn in the paper.
        private: List of the experts that each task has for itself; may be empty.
            Defaults to ("parallel_cross", "field_interaction"), the assignment that
            the paper chose.
        units: Tuple of integers. Layer widths of a "dnn" without options of its own.
            Defaults to (256, 128).
        depth: Integer. Layers of a "parallel_cross" or "field_interaction" without
            options of its own. Defaults to 3.
        heads: Integer. Attention heads of a `SoftSelection`, or 0 to leave the
            selections out. Defaults to 2.
        mappings: Strings out of "raw", "sin", "cos", see `explicit_mapping`. Defaults
            to ("raw", "sin").
        gates: "global", see `GlobalGates`, or "input", see `InputGates`. Defaults to
            "global".
        coefficient: String, the virtual gradient's form, or None; input gates take
            None. Defaults to "add_sqrt".
        fields: List of strings. Names of the fields in a gate report. Defaults to
            "field_0", "field_1", ...

    Input shape: (batch, fields, dim). Output: dict {task: (batch, width)}.

    Example:
    >>> layer = PHN(["click", "like"], private=("cin",), units=(8,))
    >>> out = layer(keras.ops.ones((4, 3, 2)))
    >>> {task: tuple(x.shape) for task, x in out.items()}  # 3 * 2 * 8 + 128
    {'click': (4, 176), 'like': (4, 176)}

    References:
        - [DEPHN](https://arxiv.org/abs/2307.12519)
        - [PHN](https://arxiv.org/abs/2206.09184)
    """

    takes_fields = True

    def __init__(
        self,
        tasks,
        public=("dnn", "dnn", "dnn"),
        private=("parallel_cross", "field_interaction"),
        units=(256, 128),
        depth=3,
        heads=2,
        mappings=("raw", "sin"),
        gates="global",
        coefficient="add_sqrt",
        fields=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = _errors.check_task_names(tasks)
        self.public = check_interactions("public", public)
        self.private = check_interactions("private", private)
        if not self.public:
            raise ValueError("public must name at least one expert. Received none.")
        self.units = _errors.check_units("units", units)
        _errors.check_positive("depth", depth)
        self.depth = depth
        if heads != 0:
            _errors.check_positive("heads, if not 0,", heads)
        self.heads = heads
        self.mappings = check_mappings(mappings)
        _errors.check_choice("gates", gates, ("global", "input"))
        if gates == "input" and coefficient is not None:
            raise ValueError(
                "The virtual gradient needs global gates; input gates take "
                f"coefficient=None. Received: coefficient={coefficient!r}."
            )
        self.gate_kind = gates
        self.coefficient = coefficient
        self.fields = fields

        owners = (SHARED, *self.tasks)
        self.selections = {
            name: SoftSelection(
                heads, fields, dtype=self.dtype_policy, name=f"{name}_selection"
            )
            for name in (owners if self.private else owners[:1])
            if heads
        }
        self.public_experts = self._experts(self.public, SHARED)
        self.private_experts = [
            expert
            for task in self.tasks
            for expert in self._experts(self.private, task)
        ]
        labels = [
            f"{label}/{mapping}"
            for label in labels_of(self.public)
            for mapping in self.mappings
        ]
        options = {"labels": labels, "dtype": self.dtype_policy, "name": "gates"}
        if gates == "global":
            self.gates = GlobalGates(self.tasks, len(labels), coefficient, **options)
        else:
            self.gates = InputGates(self.tasks, len(labels), **options)

    @property
    def task_experts(self) -> dict[str, list[keras.layers.Layer]]:
        """{task: the experts that are its own}."""
        number, experts = len(self.private), self.private_experts
        return {
            task: experts[i * number : (i + 1) * number]
            for i, task in enumerate(self.tasks)
        }

    def _experts(self, kinds, owner):
        defaults = {
            "dnn": {"units": self.units, "activation": "leaky_relu"},
            "parallel_cross": {"depth": self.depth},
            "field_interaction": {"depth": self.depth},
        }
        prefix = f"{owner}_expert"
        if not kinds:
            return []
        return make_interactions(kinds, prefix, self.dtype_policy, defaults)

    def build(self, input_shape):
        """Builds the selections, experts and gates."""
        _errors.check_rank(self, input_shape, 3)
        for selection in self.selections.values():
            selection.build(input_shape)
        for expert in self.public_experts + self.private_experts:
            build_flat(expert, input_shape)
        mapped = self._mapped_shapes(input_shape)
        if self.gate_kind == "global":
            self.gates.build(mapped)
        else:
            self.gates.build(flat_shape(input_shape), mapped)

    def call(self, inputs):
        """Maps (batch, fields, dim) to {task: (batch, width)}."""
        mapped = [
            x
            for output in self._run(self.public_experts, inputs, SHARED)
            for x in explicit_mapping(output, self.mappings)
        ]  # one (B, U) a public expert and mapping
        if self.gate_kind == "global":
            outputs = self.gates(mapped)
        else:
            outputs = self.gates(flat(inputs), mapped)
        return {
            task: ops.concatenate([outputs[task], *self._run(experts, inputs, task)], 1)
            for task, experts in self.task_experts.items()
        }

    def _run(self, experts, fields, owner):
        """Returns what each expert makes of its owner's selection, (batch, units)."""
        if experts and owner in self.selections:
            fields = self.selections[owner](fields)
        return [call_flat(expert, fields) for expert in experts]

    def compute_output_shape(self, input_shape):
        """Returns {task: (batch, width)}."""
        shapes = self._mapped_shapes(input_shape)
        shapes += self._expert_shapes(self.task_experts[self.tasks[0]], input_shape)
        width = sum(shape[-1] for shape in shapes)
        return dict.fromkeys(self.tasks, (input_shape[0], width))

    def _mapped_shapes(self, input_shape):
        return [
            shape
            for shape in self._expert_shapes(self.public_experts, input_shape)
            for _ in self.mappings
        ]

    def _expert_shapes(self, experts, input_shape):
        return [flat_output_shape(expert, input_shape) for expert in experts]
