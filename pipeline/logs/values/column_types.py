"""The Arrow types of columns: which are of use, and what the examples have of them."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

STRINGS = pa.list_(pa.string())
FLOATS = pa.list_(pa.float32())
_LISTS = (
    pa.ListType,
    pa.LargeListType,
    pa.FixedSizeListType,
    pa.ListViewType,
    pa.LargeListViewType,
)
_WANTED = {
    "string": "a number, a text, a boolean or a time",
    "float": "a number, a boolean or a duration",
    "list": "a list of numbers or texts",
    "vector": "a list of numbers",
    "numbers": "a list of numbers",
    "weighted": "a list, or a map from values to weights,",
    "map": "a map from values to numbers, or a list of such texts,",
    "any": "a number, a text, a boolean or a time",
    "time": "a number, a date, a timestamp or an ISO 8601 text",
}


def misfit(type_: pa.DataType, kind: str) -> str | None:
    """Says why no value of a type can be of a kind; None where some can.

    Args:
        type_: The type that a source has.
        kind: As of a `Column`, or "time".
    """
    wanted = _WANTED[kind]
    if is_list(type_):
        type_ = type_.value_type
        if is_list(type_):
            return f"of lists in lists, where {wanted} is needed"
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    duration = pa.types.is_duration(type_)
    nested = pa.types.is_nested(type_) and kind not in ("weighted", "map")
    unfit = nested or pa.types.is_interval(type_)
    if kind == "time":
        unfit |= pa.types.is_time(type_) or duration
    elif kind == "float":
        unfit |= pa.types.is_temporal(type_) and not duration
    return f"{type_}, where {wanted} is needed" if unfit else None


def common_type(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    """The type for a column that is of type `a` here and of type `b` there."""
    if a == b:
        return a
    try:
        schemas = [pa.schema([("", a)]), pa.schema([("", b)])]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        either = is_list(a) or is_list(b)
        return STRINGS if either else pa.string()


def settled_type(type_: pa.DataType) -> pa.DataType:
    """The type for the examples, when all values are known: all null is string."""
    if is_list(type_):
        return pa.list_(settled_type(type_.value_type))
    if pa.types.is_null(type_):
        return pa.string()
    # Arrow groups float32, not float16.
    return pa.float32() if pa.types.is_float16(type_) else type_


def plain_type(type_: pa.DataType) -> pa.DataType:
    """The type that `plain` gives to a column of a type."""
    if isinstance(type_, pa.UuidType):
        return pa.string()
    if isinstance(type_, pa.Bool8Type):
        return pa.bool_()
    if isinstance(type_, pa.BaseExtensionType):
        return plain_type(type_.storage_type)
    if pa.types.is_dictionary(type_):
        return plain_type(type_.value_type)
    if pa.types.is_string_view(type_):
        return pa.string()
    if pa.types.is_binary_view(type_) or pa.types.is_fixed_size_binary(type_):
        return pa.binary()
    if is_list(type_):
        return pa.list_(type_.value_field.with_type(plain_type(type_.value_type)))
    if pa.types.is_map(type_):
        return pa.map_(plain_type(type_.key_type), plain_type(type_.item_type))
    if pa.types.is_struct(type_):
        return pa.struct([f.with_type(plain_type(f.type)) for f in type_])
    return type_


def plain(array: pa.Array) -> pa.Array:
    """What views, dictionaries, extensions and lists of fixed size stand for.

    Arrow can do little with them: it filters no views, and casts few of the others. A
    UUID is its text.
    """
    type_ = array.type
    wanted = plain_type(type_)
    if wanted == type_:
        return array
    if isinstance(type_, pa.UuidType):
        return pa.array([v and str(v) for v in array.to_pylist()], wanted)
    if isinstance(type_, pa.BaseExtensionType):
        return plain(array.storage).cast(wanted)
    if pa.types.is_dictionary(type_):
        return plain(array.dictionary_decode())
    if is_list(type_):
        return with_items(array, plain(array.flatten()), wanted)
    if pa.types.is_struct(type_):
        fields = [plain(field) for field in array.flatten()]
        return pa.StructArray.from_arrays(
            fields, fields=list(wanted), mask=array.is_null()
        )
    if pa.types.is_map(type_):
        return pa.array(array.to_pylist(), wanted)
    return array.cast(wanted)


def with_items(
    lists: pa.Array, items: pa.Array, type_: pa.DataType | None = None
) -> pa.Array:
    """Lists of the same lengths, with other items, one behind the other."""
    counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    offsets = pa.array(np.append(0, np.cumsum(counts)).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, items, type_, mask=lists.is_null())


def is_list(type_: pa.DataType) -> bool:
    """Whether a column of the type holds any number of values a row."""
    return isinstance(type_, _LISTS)


def as_bytes(array: pa.Array) -> pa.Array:
    """Texts as their bytes, and bytes as they are; large ones stay large."""
    large = array.type in (pa.large_string(), pa.large_binary())
    return array.cast(pa.large_binary() if large else pa.binary())


def is_text(type_: pa.DataType) -> bool:
    """Whether it is of texts, or bytes that may be some."""
    return type_ in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())


def is_bytes(type_: pa.DataType) -> bool:
    """Whether it holds bytes, which may be no text."""
    return pa.types.is_binary(type_) or pa.types.is_large_binary(type_)


def is_numeric(type_: pa.DataType) -> bool:
    """Whether Arrow casts it to float64."""
    return (
        pa.types.is_floating(type_)
        or pa.types.is_integer(type_)
        or pa.types.is_boolean(type_)
        or pa.types.is_decimal(type_)
    )
