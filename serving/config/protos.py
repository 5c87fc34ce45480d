"""TF Serving's batching and monitoring messages, which its Python package lacks.

`tensorflow-serving-api` has the message of `--model_config_file` but not those of
`--batching_parameters_file` and `--monitoring_config_file`. The fields declared here
are all that these files may hold in text format; numbers are as in TF Serving.
"""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.wrappers_pb2 import DESCRIPTOR as WRAPPERS

_Field = descriptor_pb2.FieldDescriptorProto
_INT64 = ".google.protobuf.Int64Value"
_BATCHING = [  # name, number, type; a name with a dot is a message
    ("max_batch_size", 1, _INT64),
    ("batch_timeout_micros", 2, _INT64),
    ("max_enqueued_batches", 3, _INT64),
    ("num_batch_threads", 4, _INT64),
    ("thread_pool_name", 5, ".google.protobuf.StringValue"),
    ("allowed_batch_sizes", 6, "repeated int64"),
    ("pad_variable_length_inputs", 7, "bool"),
    ("enable_large_batch_splitting", 8, ".google.protobuf.BoolValue"),
    ("max_execution_batch_size", 9, _INT64),
]
_PROMETHEUS = [("enable", 1, "bool"), ("path", 2, "string")]
_MONITORING = [("prometheus_config", 1, ".tensorflow.serving.PrometheusConfig")]
_TYPES = {
    "bool": _Field.TYPE_BOOL, "string": _Field.TYPE_STRING, "int64": _Field.TYPE_INT64,
}  # fmt: skip


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="serving/config_protos.proto",
        package="tensorflow.serving",
        syntax="proto3",
        dependency=[WRAPPERS.name],
    )
    for name, fields in (
        ("BatchingParameters", _BATCHING),
        ("PrometheusConfig", _PROMETHEUS),
        ("MonitoringConfig", _MONITORING),
    ):
        message = file.message_type.add(name=name)
        for field_name, number, kind in fields:
            field = message.field.add(name=field_name, number=number)
            field.label = _Field.LABEL_OPTIONAL
            if kind.startswith("repeated "):
                field.label = _Field.LABEL_REPEATED
                kind = kind.removeprefix("repeated ")
            if kind.startswith("."):
                field.type, field.type_name = _Field.TYPE_MESSAGE, kind
            else:
                field.type = _TYPES[kind]
    return file


_pool = descriptor_pool.DescriptorPool()  # of its own: the default may get them one day
_pool.AddSerializedFile(WRAPPERS.serialized_pb)
_pool.Add(_file())


def _message(name: str) -> type:
    descriptor = _pool.FindMessageTypeByName(f"tensorflow.serving.{name}")
    return message_factory.GetMessageClass(descriptor)


BatchingParameters = _message("BatchingParameters")
MonitoringConfig = _message("MonitoringConfig")
