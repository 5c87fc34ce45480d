"""The Arrow types of columns: which are of use, and what the examples have of them."""

import pyarrow as pa

STRINGS = pa.list_(pa.string())
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
    unfit = pa.types.is_nested(type_) or pa.types.is_interval(type_)
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
    if pa.types.is_dictionary(type_):
        return settled_type(type_.value_type)
    if pa.types.is_null(type_) or pa.types.is_string_view(type_):
        return pa.string()
    if pa.types.is_binary_view(type_) or pa.types.is_fixed_size_binary(type_):
        return pa.binary()
    # Arrow groups float32, not float16.
    return pa.float32() if pa.types.is_float16(type_) else type_


def plain(array: pa.Array) -> pa.Array:
    """Views, dictionaries and lists of fixed size as what they stand for."""
    type_ = array.type
    if pa.types.is_dictionary(type_):
        return plain(array.dictionary_decode())
    if pa.types.is_string_view(type_):
        return array.cast(pa.string())
    if pa.types.is_binary_view(type_) or pa.types.is_fixed_size_binary(type_):
        return array.cast(pa.binary())
    if pa.types.is_fixed_size_list(type_):
        return array.cast(pa.list_(type_.value_type))
    if pa.types.is_list_view(type_) or pa.types.is_large_list_view(type_):
        # Arrow's own cast gives wrong offsets where a list is missing.
        return pa.array(array.to_pylist(), pa.list_(settled_type(type_.value_type)))
    return array


def is_list(type_: pa.DataType) -> bool:
    """Whether a column of the type holds any number of values a row."""
    return isinstance(type_, _LISTS)


def is_text(type_: pa.DataType) -> bool:
    """Whether it is of texts, or bytes that may be some."""
    return type_ in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())


def is_numeric(type_: pa.DataType) -> bool:
    """Whether Arrow casts it to float64."""
    return (
        pa.types.is_floating(type_)
        or pa.types.is_integer(type_)
        or pa.types.is_boolean(type_)
        or pa.types.is_decimal(type_)
    )
