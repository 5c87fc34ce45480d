"""Tensors of gRPC messages as arrays, and back.

Values are written in the typed fields (`float_val`, `string_val` ...) as TF Serving
writes them, so that a client in any language finds them where it looks.
"""

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto

from serving.errors import Code, ServingError, invalid

_FIELDS = {
    "float32": "float_val", "float64": "double_val", "int64": "int64_val",
    "uint32": "uint32_val", "uint64": "uint64_val", "bool": "bool_val",
    "int32": "int_val", "int16": "int_val", "int8": "int_val",
    "uint16": "int_val", "uint8": "int_val",
}  # fmt: skip


def from_proto(name: str, proto: TensorProto, dtype: str) -> np.ndarray:
    """Makes an array of a message.

    Args:
        name: str. The input, for the error.
        proto: TensorProto. The tensor.
        dtype: str. TensorFlow's name of the type that the signature wants.

    Returns:
        array; strings as an object array of bytes.

    Raises:
        ServingError: the tensor is damaged, or of another type.
    """
    try:
        array = np.asarray(tf.make_ndarray(proto))
        found = tf.as_dtype(proto.dtype).name
    except (TypeError, ValueError, UnicodeError, MemoryError) as error:
        raise invalid(f"tensor parsing error: {name}. {error}") from error
    if found != dtype:
        raise invalid(
            f"The input {name!r} is of type {dtype}. Received: a tensor of type {found}"
        )
    return array


def to_proto(array: np.ndarray) -> TensorProto:
    """Makes a message of an array; strings come as an object array of bytes.

    Raises:
        ServingError: the type has no message form.
    """
    try:
        dtype = tf.as_dtype(array.dtype)
    except TypeError as error:
        raise ServingError(
            Code.UNIMPLEMENTED, f"A tensor of type {array.dtype} cannot be sent"
        ) from error
    field = "string_val" if dtype == tf.string else _FIELDS.get(dtype.name)
    if field is None:  # half, complex ...: TensorFlow knows how
        return tf.make_tensor_proto(array)
    proto = TensorProto(dtype=dtype.as_datatype_enum)
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, field).extend(array.ravel().tolist())
    return proto
