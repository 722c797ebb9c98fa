"""The graphs of an export as ONNX: in float32, float16 and int8, without what the tools noted in them.

int8 is static (QDQ: activations uint8, weights int8, a scale for each output channel), its ranges taken over
CALIBRATION_IMAGES training images. Dynamic quantisation measures the activations of each call instead, which needs no
images, but ONNX Runtime has it for matrix products alone to good effect: its convolutions in int8 are slower than in
float32. Weights take seven bits of the eight (reduce_range): products of uint8 and int8 saturate on processors without
VNNI instructions, and the accuracy measured here has to hold on whatever machine the file goes to. The logits stay in
float32: on a grid of 256 values, classes would tie.
"""

import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor

from kd_core.base.files import disk_problem
from kd_core.data.dataset import Dataset
from kd_core.exchange.export.checks import OPSETS, ExportError

CALIBRATION_IMAGES, CALIBRATED_AT_ONCE = 500, 100


def to_onnx(program: torch.export.ExportedProgram, opset: int = OPSETS[0]) -> bytes:
    """The graph as ONNX in float32: input "images", output "logits"."""
    with quiet():
        made = torch.onnx.export(
            program, input_names=["images"], output_names=["logits"], opset_version=opset, verbose=False
        )
    assert made is not None  # noqa: S101  only a path as its second argument makes it so
    return _tidy(made.model_proto)


def to_float16(graph: bytes) -> bytes:
    """The ONNX graph with weights and arithmetic in float16; pixels and logits stay float32.

    On processors ONNX Runtime computes most of it in float32 all the same: it saves bytes there, and time on others.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    with quiet(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="the float32 number")  # too small for float16: it becomes 0
        made = OnnxModel(convert_float_to_float16(onnx.load_from_string(graph), keep_io_types=True))
        made.topological_sort()
        return _tidy(made.model)


def to_int8(graph: bytes, dataset: Dataset) -> bytes:
    """The ONNX graph in int8, its ranges calibrated on training images spread evenly over the training set."""
    step = max(1, len(dataset.train_images) // CALIBRATION_IMAGES)
    images = dataset.train_images[::step][:CALIBRATION_IMAGES].to(torch.float32)
    batch = onnx.load_from_string(graph).graph.input[0].type.tensor_type.shape.dim[0].dim_value
    batches = [part for part in images.split(batch or CALIBRATED_AT_ONCE) if len(part) == batch or not batch]
    with tempfile.TemporaryDirectory() as name, quiet():
        source, prepared, target = (Path(name) / file for file in ("source.onnx", "prepared.onnx", "target.onnx"))
        try:
            source.write_bytes(graph)
            quant_pre_process(source, prepared, skip_symbolic_shape=True)
            quantization.quantize_static(
                prepared,
                target,
                _Calibration(batches or [images[:1].expand(batch, -1, -1, -1)]),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                reduce_range=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
            )
            made = onnx.load(target)
        except OSError as error:
            raise ExportError(disk_problem(error, Path(name))) from error
    _free_logits(made)
    return _tidy(made)


class _Calibration(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Batches of images (N, C, H, W) float32, as the quantiser asks for them."""

    def __init__(self, batches: Iterable[Tensor]) -> None:
        self.batches = iter(batches)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        batch = next(self.batches, None)
        return None if batch is None else {"images": batch.numpy()}


def _free_logits(made: Any) -> None:
    """Take the last pair of QuantizeLinear and DequantizeLinear away: logits come out in float32."""
    nodes = {output: node for node in made.graph.node for output in node.output}
    back = nodes["logits"]
    there = nodes[back.input[0]]
    if (there.op_type, back.op_type) == ("QuantizeLinear", "DequantizeLinear"):
        nodes[there.input[0]].output[0] = "logits"
        made.graph.node.remove(there)
        made.graph.node.remove(back)


def _tidy(made: Any) -> bytes:
    """Bytes of a checked ONNX model without the tools' notes, which hold file names of this machine."""
    graph = made.graph
    for part in (made, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
    del graph.value_info[:]
    for node in graph.node:
        node.ClearField("doc_string")
    for value in (*graph.input, *graph.output):
        batch = value.type.tensor_type.shape.dim[0]
        if not batch.dim_value:
            batch.dim_param = "N"
    used = {node.domain for node in graph.node}
    kept = [entry for entry in made.opset_import if entry.domain in used]
    del made.opset_import[:]
    made.opset_import.extend(kept)
    made.ir_version = min(made.ir_version, onnx.helper.find_min_ir_version_for(kept, ignore_unknown=True))
    onnx.checker.check_model(made)
    content: bytes = made.SerializeToString()
    return content


@contextmanager
def quiet() -> Iterator[None]:
    """Within, torch's remark on its own pytree and the quantiser's log are not passed on."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
            yield
    finally:
        root.setLevel(before)


def with_metadata(graph: bytes, metadata: Mapping[str, str]) -> bytes:
    """An ONNX file with these metadata_props."""
    made = onnx.load_from_string(graph)
    onnx.helper.set_model_props(made, dict(metadata))
    content: bytes = made.SerializeToString()
    return content
