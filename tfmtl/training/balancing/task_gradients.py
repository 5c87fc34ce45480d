"""A forward pass, and a backward pass for each task."""

import functools

import tensorflow as tf

from tfmtl.training.workers import replica_shares


def task_gradients(model, x, y, sample_weight):
    """Differentiates every task's loss by itself.

    Under `compile(jit_compile=True)` XLA compiles the passes, but for lookups in
    tables, whose gradients it would make dense.

    Args:
        model: A compiled `MultiTaskModel`.
        x: Features, as all of the following of one batch.
        y: Labels.
        sample_weight: Weights of rows, or None.

    Returns:
        gradients: List [tasks] of lists [variables] of gradients, of losses as the
            optimizer scales them; None where a loss does not reach a variable.
        others: List [variables] of gradients, of the losses that belong to no task.
        losses: List [tasks] of scalars, of several replicas this one's shares.
        rows: List [tasks] of scalars, the weights of the rows.
        other: Scalar, the losses that belong to no task.
        y_pred: What the model has predicted.
    """
    if model.uses_xla:
        found = _compiled(model, x, y, sample_weight)
    else:
        with tf.GradientTape(persistent=True) as tape:
            y_pred = model(x, training=True)
            scaled, losses = _losses(model, x, y, y_pred, sample_weight)
        variables = model.trainable_weights
        found = [tape.gradient(loss, variables) for loss in scaled], losses, y_pred
    gradients, (losses, rows, other), y_pred = found
    return gradients[:-1], gradients[-1], losses, rows, other, y_pred


def _losses(model, x, y, y_pred, sample_weight):
    """Returns the losses to differentiate, and (losses, rows, other) to tell."""
    losses, rows = model.compute_task_losses(x, y, y_pred, sample_weight)
    shares = replica_shares(rows)
    names = [task.name for task in model.tasks]
    parts = [losses[name] * shares[name] for name in names]
    other = model.compute_other_loss(x, y, y_pred, sample_weight)
    scaled = [model.optimizer.scale_loss(loss) for loss in (*parts, other)]
    return scaled, (parts, [rows[name] for name in names], other)


def _compiled(model, x, y, sample_weight):
    """Returns gradients, losses and predictions as above."""
    tables = {id(w): w.value for w in model.embedding.trainable_weights}
    variables = {id(w): w.value for w in model.trainable_weights}
    dense = {key: w for key, w in variables.items() if key not in tables}

    # Made anew in every trace: it may capture tensors of the outer graph.
    @functools.partial(tf.function, jit_compile=True, autograph=False)
    def differentiate(vectors, x, y, sample_weight):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(vectors)
            y_pred = model.above(vectors, x, training=True)
            scaled, losses = _losses(model, x, y, y_pred, sample_weight)
        found = [tape.gradient(loss, (vectors, dense)) for loss in scaled]
        return found, losses, y_pred

    with tf.GradientTape(persistent=True) as tape:
        vectors = model.embedding(x)  # {feature: (B, dim)}
    found, losses, y_pred = differentiate(vectors, x, y, sample_weight)
    gradients = []
    for towards, of_dense in found:
        towards = {name: g for name, g in towards.items() if g is not None}
        reached = {name: vectors[name] for name in towards}
        of_tables = dict.fromkeys(tables)
        if reached:
            of_tables = tape.gradient(reached, tables, towards)
        by_variable = of_dense | of_tables
        gradients.append([by_variable[key] for key in variables])
    return gradients, losses, y_pred
