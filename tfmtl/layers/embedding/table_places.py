"""Where the rows of each feature's table are in the variables that hold them."""

from keras import ops

MAX_ROWS = 2**31 - 1
SHARDED = "sharded_"


def variable_of(feature):
    """Returns the name of the variable that holds a categorical feature's table."""
    sharded = SHARDED if feature.sharded else ""
    return f"{sharded}table_{feature.embedding_dim}"


class TablePlaces:
    """The tables of one embedding width stand one below the other in one variable.

    Args:
        features: List of `Categorical` and `Multivalued`, the owners of tables.

    Attributes:
        sizes: {variable: [rows of each of its tables]}.
        dims: {variable: embedding width}.
        starts: {table: its first row}.

    Raises:
        ValueError: If int32 cannot count a variable's rows.
    """

    def __init__(self, features):
        self.sizes, self.dims, self.starts = {}, {}, {}
        for feature in features:
            if feature.table_name in self.starts:
                continue
            name = variable_of(feature)
            self.dims[name] = feature.embedding_dim
            before = self.sizes.setdefault(name, [])
            self.starts[feature.table_name] = sum(before)
            before.append(feature.table_size)
        for name, sizes in self.sizes.items():
            if sum(sizes) > MAX_ROWS:
                raise ValueError(
                    f"Tables of one embedding_dim hold at most {MAX_ROWS} rows, so "
                    f"that int32 can count them. Received: {sum(sizes)} rows with "
                    f"embedding_dim={self.dims[name]}."
                )

    def start(self, feature):
        """Returns the first row of a feature's table."""
        return self.starts[feature.table_name]

    def rows(self, feature):
        """Returns the slice of the rows of a feature's table."""
        return slice(self.start(feature), self.start(feature) + feature.table_size)

    def plain_rows(self, features, x):
        """Returns the rows (F, B) of features with a vocabulary, with a few ops.

        Args:
            features: List of `Categorical` whose ids are rows of their tables.
            x: Dict {name: ids (B,)}.
        """
        ids = [x[f.name] for f in features]
        if any(i.dtype != "int32" for i in ids):
            ids = [ops.cast(i, "int64") for i in ids]
        ids = ops.stack(ids)  # (F, B)
        sizes = ops.array([[f.vocabulary_size] for f in features], ids.dtype)
        starts = ops.array([[self.start(f)] for f in features], "int32")
        known = ops.logical_and(ids >= 0, ids < sizes)
        return starts + ops.cast(ops.where(known, ids, ops.zeros_like(ids)), "int32")
