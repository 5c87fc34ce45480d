"""Loading a SavedModel into a session, while the process goes on answering.

TensorFlow's own loader makes a Python object of every node, which keeps Python's other
threads waiting for a tenth of a second and leaves cycles that only a full garbage
collection frees. Nothing here needs those objects: a session is asked by the names of
tensors. So the graph goes from the file into TensorFlow's memory, function by function;
variables are restored there, without a copy of their own.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.framework.function_pb2 import FunctionDef
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.protobuf.config_pb2 import CallableOptions, ConfigProto
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.python.client import pywrap_tf_session

from serving.errors import Code, ServingError

_INIT_OP = "__saved_model_init_op"
_INIT_COLLECTIONS = ("saved_model_main_op", "legacy_init_op")  # of TensorFlow 1


def load_saved_model(
    path: Path, config: ConfigProto
) -> tuple[tf.compat.v1.Session, MetaGraphDef]:
    """Loads the SavedModel of a directory, as a server does.

    Args:
        path: Path. The directory of saved_model.pb, variables/ and assets/.
        config: ConfigProto. Of the session.

    Returns:
        The session, its variables restored and its tables initialized; and the
        MetaGraphDef, without its graph.

    Raises:
        ServingError: the file is no SavedModel, or none to be served.
        OpError: TensorFlow cannot load it.
    """
    meta_graph = _read(path / "saved_model.pb")
    graph = tf.Graph()
    _import(graph, meta_graph.graph_def)
    meta_graph.ClearField("graph_def")
    session = tf.compat.v1.Session(graph=graph, config=config)
    try:
        _initialize(session, meta_graph, path)
    except BaseException:
        session.close()
        raise
    return session, meta_graph


def _read(file: Path) -> MetaGraphDef:
    try:
        saved_model = SavedModel.FromString(file.read_bytes())
    except DecodeError as error:
        raise ServingError(
            Code.DATA_LOSS, f"Can't parse {file} as binary proto"
        ) from error
    for meta_graph in saved_model.meta_graphs:
        if set(meta_graph.meta_info_def.tags) == {tf.saved_model.SERVING}:
            return meta_graph
    raise ServingError(
        Code.NOT_FOUND,
        "Could not find meta graph def matching supplied tags: { serve }. To inspect "
        "available tag-sets in the SavedModel, please use the SavedModel CLI: "
        "`saved_model_cli`",
    )


def _import(graph: tf.Graph, definition: GraphDef) -> None:
    # The functions come last and one by one. Were they there, the shapes of all of them
    # would be inferred for each call of them, and nobody else could run meanwhile.
    functions = []
    if not definition.library.gradient:  # which must come with its function
        functions = _called(definition)
        definition.library.ClearField("function")
    buffer = pywrap_tf_session.TF_NewBufferFromString(definition.SerializeToString())
    options = pywrap_tf_session.TF_NewImportGraphDefOptions()
    try:
        with graph._c_graph.get() as c_graph:
            results = pywrap_tf_session.TF_GraphImportGraphDefWithResults(
                c_graph, buffer, options
            )
            pywrap_tf_session.TF_DeleteImportGraphDefResults(results)
            for function in functions:
                c_function = pywrap_tf_session.TF_FunctionImportFunctionDef(
                    function.SerializeToString()
                )
                pywrap_tf_session.TF_GraphCopyFunction(c_graph, c_function, None)
                pywrap_tf_session.TF_DeleteFunction(c_function)
    finally:
        pywrap_tf_session.TF_DeleteImportGraphDefOptions(options)
        pywrap_tf_session.TF_DeleteBuffer(buffer)


def _called(definition: GraphDef) -> list[FunctionDef]:
    """The functions that the graph calls, itself or by others.

    TensorFlow saves the functions of Python objects, too, which nobody can ask for
    here: two of three, where a model has many tables.
    """
    known = {f.signature.name: f for f in definition.library.function}
    called: dict[str, FunctionDef] = {}
    nodes = list(definition.node)
    while nodes:
        node = nodes.pop()
        names = [node.op]  # which is a function's name in graphs of TensorFlow 1
        for value in node.attr.values():
            names += [value.func.name, *(function.name for function in value.list.func)]
        for name in names:
            if name in known and name not in called:
                called[name] = known[name]
                nodes += known[name].node_def
    return list(called.values())


def _initialize(
    session: tf.compat.v1.Session, meta_graph: MetaGraphDef, path: Path
) -> None:
    """Restores the variables, then fills the tables."""
    assets = {
        asset.tensor_info.name: str(path / "assets" / asset.filename)
        for asset in meta_graph.asset_file_def
    }
    saver = meta_graph.saver_def
    if saver.restore_op_name:
        prefix = str(path / "variables" / "variables")
        fed = {saver.filename_tensor_name: prefix, **assets}
        _run(session, saver.restore_op_name, fed)
    if _INIT_OP in meta_graph.signature_def:
        outputs = meta_graph.signature_def[_INIT_OP].outputs
        _run(session, outputs[_INIT_OP].name.partition(":")[0], assets)
        return
    for name in _INIT_COLLECTIONS:
        for operation in meta_graph.collection_def[name].node_list.value[:1]:
            _run(session, operation, assets)
            return


def _run(session: tf.compat.v1.Session, operation: str, fed: dict[str, str]) -> None:
    options = CallableOptions(feed=list(fed), target=[operation])
    run = session._make_callable_from_options(options)
    run(*(np.array(value, object) for value in fed.values()))
