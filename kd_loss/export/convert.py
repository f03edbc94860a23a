"""Converts a Keras network to a file of another runtime.

Every file takes RGB 0…255 and returns normalised landmarks (1 or B, K, 2), like the network itself, and, if its head
has distributions, their spread (1 or B, K) in crop sides. An int8 `.tflite` of a pooled head has integer input and
output, whose scales the runtime reports. A softmax over hundreds of cells loses its resolution in 8 bits: other heads
stay in floating point from there on, and such a file takes and returns floats. `runtimes.crop_network` reads them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from kd_loss.runtimes.files import embed_card
from kd_loss.system.errors import UserError, first_line


class Exportable(Protocol):
    """A landmark network or a keypoint detector."""

    @property
    def card(self) -> Any:
        """A dataclass, which is stored in the file."""

    def export_model(self) -> keras.Model:
        """The content of the file's card."""


#: LiteRT operations that only a heatmap head uses
HEAD_OPERATIONS = ["SOFTMAX", "FULLY_CONNECTED", "BATCH_MATMUL", "SUB", "SUM", "SQRT", "MAXIMUM", "SQUARE", "MUL"]
#: the same for ONNX
HEAD_NODES = ("Softmax", "MatMul", "Gemm", "Sub", "ReduceSum", "Sqrt", "Max", "Mul", "Transpose", "Reshape")
#: further operations of non-heatmap heads (LiteRT, ONNX); the U-Nets, which have heatmap heads, join maps before
JOINED = ("CONCATENATION", "Concat")


def to_saved_model(network: Exportable, folder: Path) -> None:
    """TensorFlow's format for servers: float32, any batch, signature `serve`."""
    network.export_model().export(folder, format="tf_saved_model", verbose=False)


def to_litert(network: Exportable, path: Path, precision: str, calibration: np.ndarray | None) -> None:
    """A `.tflite` file for one face at a time, with its card inside.

    Args:
        network: the model and its card.
        path: the file to write.
        precision: `fp32`; `fp16`: weights of 16 bits; `int8`: weights, activations, input and output of 8 bits.
        calibration: crops (N, S, S, 3) uint8, for int8.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    size, model = network.card.size, network.export_model()
    entry = tf.TensorSpec((1, size, size, 3), tf.float32, name="image")
    call = tf.function(lambda image: model(image, training=False), input_signature=[entry])
    frozen = convert_variables_to_constants_v2(call.get_concrete_function())
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    if precision != "fp32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        crops = required(calibration)
        converter.representative_dataset = lambda: ([crop[None].astype(np.float32)] for crop in crops)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type, converter.inference_output_type = tf.uint8, tf.int8
        if network.card.head != "pooled":
            joined = JOINED[:1] if network.card.head != "heatmap" else ()
            joined = (*joined, *JOINED[:1], "LOGISTIC") if network.card.visibility else joined
            path.write_bytes(_without_head(converter, [*HEAD_OPERATIONS, *joined]))
            embed_card(path, asdict(network.card))
            return
    path.write_bytes(converter.convert())
    embed_card(path, asdict(network.card))


def _without_head(converter: Any, operations: list[str]) -> bytes:
    """Integers everywhere except in these operations: from a head's distributions on."""
    import tensorflow as tf

    # an all-integer file does not support a head of another type
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
    converter.inference_output_type = tf.float32
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=operations)
    debugger = tf.lite.experimental.QuantizationDebugger(converter=converter, debug_options=options)
    return debugger.get_nondebug_quantized_model()


def to_onnx(network: Exportable, path: Path, precision: str, calibration: np.ndarray | None) -> None:
    """An `.onnx` file for any batch size, with its card inside; input and output are float32 at every precision."""
    import onnx

    _teach_erfc()
    model = network.export_model()
    model(np.zeros((1, *model.input_shape[1:]), np.float32))  # Keras requires one call before
    model.export(path, format="onnx", verbose=False)
    if precision == "fp16":
        from onnxruntime.transformers.float16 import convert_float_to_float16

        onnx.save(convert_float_to_float16(onnx.load(path), keep_io_types=True), path)
    if precision == "int8":
        nodes = {"pooled": (), "heatmap": HEAD_NODES}.get(network.card.head, (*HEAD_NODES, JOINED[1]))
        _quantise_onnx(path, required(calibration), nodes)
    embed_card(path, asdict(network.card))


def _teach_erfc() -> None:
    """Give tf2onnx the function of an exact GELU, which it does not know: `erfc(x) = 1 − erf(x)`."""
    from tf2onnx.handler import tf_op

    @tf_op("Erfc")
    class _Erfc:
        @classmethod
        def version_9(cls, graph: Any, node: Any, **_: Any) -> None:
            kind, shape = graph.get_dtype(node.output[0]), graph.get_shape(node.output[0])
            erf = graph.make_node("Erf", node.input, shapes=[shape], dtypes=[kind]).output[0]
            one = graph.make_const(f"{node.name}_one", np.ones((), np.float32)).output[0]
            graph.remove_node(node.name)
            graph.make_node("Sub", [one, erf], name=node.name, outputs=node.output, shapes=[shape], dtypes=[kind])


def required(calibration: np.ndarray | None) -> np.ndarray:
    """The crops that int8 requires; raises a `UserError` if there are none."""
    if calibration is None or not len(calibration):
        raise UserError("int8 is calibrated on training crops: prepare the dataset, or give --dataset and --data")
    return calibration


def _quantise_onnx(path: Path, crops: np.ndarray, left_out: tuple[str, ...]) -> None:
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Crops(quantization.CalibrationDataReader):
        def __init__(self, name: str):
            self.feeds: Iterator[dict[str, Any]] = ({name: crop[None].astype(np.float32)} for crop in crops)

        def get_next(self) -> dict[str, Any] | None:
            return next(self.feeds, None)

    import onnx

    simpler = path.with_name(f"{path.stem}-simpler.onnx")
    try:
        quant_pre_process(str(path), str(simpler), skip_symbolic_shape=True)
        nodes = [node.name for node in onnx.load(simpler).graph.node if node.op_type in left_out]
        quantization.quantize_static(
            str(simpler),
            str(path),
            Crops(onnx.load(path).graph.input[0].name),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            nodes_to_exclude=nodes,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
    finally:
        simpler.unlink(missing_ok=True)


def require_tensorflow() -> None:
    """Raises a `UserError` on the JAX backend: TensorFlow's converters read TensorFlow graphs."""
    if keras.backend.backend() != "tensorflow":
        raise UserError("export needs the TensorFlow backend: unset KERAS_BACKEND, or set it to tensorflow")


@contextmanager
def needed(kind: str) -> Iterator[None]:
    """A missing package as one line."""
    try:
        yield
    except ImportError as error:
        missing = error.name or first_line(error)
        raise UserError(f"the format {kind} needs more packages ({missing}): pip install -e '.[export]'") from None
