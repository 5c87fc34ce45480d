"""Whether gates, experts and hidden units of a model do their work."""

import numpy as np
import tensorflow as tf

from tfmtl.gate_report import batches, gate_report, in_graph
from tfmtl.layers.blocks.gates import record_gates
from tfmtl.layers.blocks.recording import gated_experts, hidden_units
from tfmtl.layers.structures.ple import SHARED

UNUSED = 0.1  # of an equal share: an expert with less does not count for a gate
CONSTANT = 0.005  # a gate's weights deviate less over the rows: it does not see them
ONE_EXPERT = 0.99  # a gate's mean weight that leaves nothing to the others
DEAD = 0.5  # share of a layer's units, from which on it is worth a word

HINTS = {
    "dead_expert": "Its units have died, or it was never trained. A lower learning "
    "rate, scaled numeric features or another seed help; so does a fresh start "
    "without the warm start.",
    "unused_expert": "It costs time and memory and gives nothing. Train with fewer "
    "experts, or for longer, if the gates still move.",
    "one_task_expert": "It is that task's own expert in effect, and the tasks share "
    "less than the architecture says. Fewer shared experts would do; or the tasks "
    "have little in common.",
    "one_expert_gate": "The other experts get no gradient from this task and cannot "
    "come back. A lower learning rate, scaled numeric features or another seed help.",
    "constant_gate": "It mixes all rows alike, so what it reads tells it nothing. Are "
    "the features behind it filled and scaled? Else a simpler structure, such as "
    "shared_bottom, does the same.",
    "dead_units": "The layer is narrower than it says. A lower learning rate, scaled "
    "numeric features and `start_at` for rare tasks keep units alive; fewer units cost "
    "less.",
}


def gate_health(model, data, domain: str | None = None) -> dict:
    """See `MultiTaskModel.gate_health`."""
    watched = _watch(model, data)
    gates = gate_report(model, data, domain) if watched["gates"] else {}
    units = {
        path: {
            "active": seen["active"] / seen["rows"],
            "dead": int(np.sum(seen["low"] == seen["high"])),
        }
        for path, seen in watched["units"].items()
    }
    experts = {
        path: [bool(np.all(low == high)) for low, high in ends]
        for path, ends in watched["experts"].items()
    }
    mixing = {path for path, is_mix in watched["gates"].items() if is_mix}
    findings = [
        *_dead_experts(gates, experts),
        *_unused_experts(
            {p: g for p, g in gates.items() if p in mixing & set(experts)}
        ),
        *_fixed_gates({p: g for p, g in gates.items() if p in mixing}),
        *_dead_units(units),
    ]
    return {"gates": gates, "units": units, "findings": findings}


def _look(model, inputs):
    """Returns of a batch which gates mix, and the ranges of units and experts."""
    with (
        record_gates() as gates,
        hidden_units.listen() as units,
        gated_experts.listen() as experts,
    ):
        model(inputs, training=False)
    return (
        {path: _is_mix(weights) for path, (weights, _) in gates.items()},
        {path: _activity(*noted) for path, noted in units.items()},
        {path: [_range(x) for x in _each(noted)] for path, noted in experts.items()},
    )


def _watch(model, data) -> dict:
    """One pass: which gates mix, and the range of every unit and expert."""
    gates: dict[str, bool] = {}
    units: dict[str, dict] = {}
    experts: dict[str, list] = {}
    for inputs in batches(data, model.features):
        mixes, activity, ranges = tf.nest.map_structure(
            np.asarray, in_graph(model, _look, inputs)
        )
        for path, is_mix in mixes.items():
            gates[path] = gates.get(path, True) and bool(is_mix)
        for path, (rows, active, low, high) in activity.items():
            seen = units.setdefault(
                path, {"rows": 0, "active": 0, "low": low, "high": high}
            )
            seen["rows"] += int(rows)
            seen["active"] = seen["active"] + active.astype("float64")
            seen["low"] = np.minimum(seen["low"], low)
            seen["high"] = np.maximum(seen["high"], high)
        for path, now in ranges.items():
            experts[path] = [
                (np.minimum(low, before[0]), np.maximum(high, before[1]))
                for (low, high), before in zip(now, experts.get(path, now), strict=True)
            ]
    if not units and not gates:
        raise ValueError("Gate health needs rows. Received: a dataset without any.")
    return {"gates": gates, "units": units, "experts": experts}


def _is_mix(weights):
    """Whether a gate looks at the row, and its weights are shares that sum to 1."""
    if weights.shape.rank < 2:
        return tf.constant(False)
    weights = tf.cast(weights, "float32")
    off = tf.abs(tf.reduce_sum(weights, -1) - 1)
    return tf.reduce_all(weights >= 0) & tf.reduce_all(off < 1e-2)


def _activity(x, rows_axis):
    """Returns the rows, those in which each unit is not 0, its least and greatest."""
    low, high = _range(x, rows_axis)
    active = tf.reduce_sum(tf.cast(x != 0, "float32"), rows_axis)
    return tf.shape(x)[rows_axis], active, low, high


def _range(x, axis=0):
    x = tf.cast(x, "float32")
    return tf.reduce_min(x, axis), tf.reduce_max(x, axis)


def _each(experts):
    """The experts of a gate as a list of (batch, units)."""
    each = []
    for x in experts if isinstance(experts, list) else [experts]:
        each += tf.unstack(x, axis=1) if x.shape.rank == 3 else [x]
    return each


def _dead_experts(gates, experts):
    found: dict[tuple[str, str], None] = {}
    for path, dead in experts.items():
        for label, is_dead in zip(gates[path]["labels"], dead, strict=True):
            if is_dead:
                found[_level(path), label] = None
    for level, label in found:
        yield _finding(
            "dead_expert",
            level,
            f"Expert {label} gives the same for every row: it has nothing to say.",
        )


def _unused_experts(gates):
    """Experts by the gates that see them: {(level, label): {gate: greatest share}}."""
    shares: dict[tuple[str, str], dict[str, float]] = {}
    for path, gate in gates.items():
        parts = [gate, *gate["domains"].values()]
        greatest = np.max([part["mean"] for part in parts], axis=0)
        for label, share in zip(gate["labels"], greatest, strict=True):
            equal = 1 / len(gate["labels"])
            shares.setdefault((_level(path), label), {})[_name(path)] = share / equal
    for (level, label), by_gate in shares.items():
        using = [name for name, share in by_gate.items() if share >= UNUSED]
        own = [name for name in by_gate if name != f"{SHARED}_gate"]
        if not using:
            yield _finding(
                "unused_expert",
                level,
                f"No gate uses expert {label}: none gives it a tenth of an equal "
                "share, in any domain.",
            )
        elif len(own) > 1 and using[0] in own and len(using) == 1:
            yield _finding(
                "one_task_expert",
                level,
                f"Of {len(own)} gates that could, {using[0]} alone uses expert "
                f"{label}.",
            )


def _fixed_gates(gates):
    for path, gate in gates.items():
        if len(gate["labels"]) < 2 or gate["rows"] < 2:
            continue
        top = int(np.argmax(gate["mean"]))
        if gate["mean"][top] > ONE_EXPERT:
            yield _finding(
                "one_expert_gate",
                path,
                f"The gate {_name(path)} gives {gate['mean'][top]:.1%} of the weight "
                f"to {gate['labels'][top]}, whatever the row.",
            )
        elif np.max(gate["std"]) < CONSTANT:
            yield _finding(
                "constant_gate",
                path,
                f"The gate {_name(path)} gives every row the same weights.",
            )


def _dead_units(units):
    for path, seen in units.items():
        of = seen["active"].size
        if seen["dead"] > DEAD * of:
            yield _finding(
                "dead_units",
                path,
                f"{seen['dead']} of {of} hidden units give the same for every row.",
            )


def _finding(check: str, where: str, text: str) -> dict[str, str]:
    return {"check": check, "where": where, "text": text, "hint": HINTS[check]}


def _level(path: str) -> str:
    """The layer that a gate and its experts belong to."""
    return path.rpartition("/")[0]


def _name(path: str) -> str:
    return path.rpartition("/")[2]
