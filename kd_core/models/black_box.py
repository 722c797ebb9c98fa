"""A teacher of which nothing is known but its logits: an ONNX file or a torch.export program, as a module like others.

Nothing in such a file runs but operators that compute numbers from numbers. An ONNX graph is held to OPERATORS, and no
size in it may follow from the values of an image: so what one batch of images takes, every batch takes
(models.torch_export holds torch.export's graphs to the same). A black box computes on the CPU, BATCH images at a time.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from kd_core.base.config import LabError
from kd_core.models.torch_export import Axes, Program

Kind = Literal["program", "onnx"]
BATCH = 256
"""Images at once. A trial asks for as many, so that later nothing takes more room than it did there."""
MAX_BYTES = 500_000_000
"""Of a file, before and after it is unpacked."""
MAX_NODES = 50_000
LEAST_PROBABILITY = 1e-30
_OPERATORS = """
Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast CastLike Ceil Celu Clip Concat Constant
ConstantOfShape Conv ConvInteger ConvTranspose Cos DepthToSpace DequantizeLinear Div Dropout DynamicQuantizeLinear
Einsum Elu Equal Erf Exp Expand Flatten Floor Gather GatherElements GatherND Gelu Gemm GlobalAveragePool
GlobalMaxPool Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish Identity InstanceNormalization LRN
LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization MatMul MatMulInteger Max MaxPool Mean
MeanVarianceNormalization Min Mish Mod Mul Neg Not OneHot Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear
RMSNormalization Range Reciprocal ScatterElements ScatterND ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax
ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize Round Selu Shape Sigmoid Sign Sin Size
Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tanh ThresholdedRelu Tile TopK Transpose
Trilu Unsqueeze Upsample Where Xor
"""
OPERATORS = frozenset(_OPERATORS.split())
"""What a graph may call, of ONNX's own domain: no loop, no random number, no text, nothing that finds by value."""
_SIZES = {
    "ConstantOfShape": (0,), "Expand": (1,), "OneHot": (1,), "Pad": (1, 3), "Range": (0, 1, 2), "Reshape": (1,),
    "Resize": (1, 2, 3), "Slice": (1, 2, 3, 4), "Split": (1,), "Squeeze": (1,), "Tile": (1,), "TopK": (1,),
    "Unsqueeze": (1,), "Upsample": (1,),
}  # fmt: skip
"""Which inputs of an operator say how large its output is."""
_OF_SHAPE_ALONE = ("Shape", "Size")
_NUMBERS = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.FLOAT16: torch.float16,
    onnx.TensorProto.DOUBLE: torch.float64,
    onnx.TensorProto.UINT8: torch.uint8,
}


class BlackBoxError(LabError):
    """A file that cannot be used as a black box; a sentence says why and what to do."""


class BlackBox(nn.Module):
    """Images (N, C, H, W) as the file wants them -> logits (N, K), on the device of the images.

    Its only state is the file itself, as bytes under the name of its kind. Raises BlackBoxError or ProgramError where
    the file cannot be used, or is for other images.
    """

    def __init__(
        self,
        kind: Kind,
        content: bytes,
        image_shape: tuple[int, int, int],
        classes: int,
        gives: Literal["logits", "probabilities"] = "logits",
    ) -> None:
        super().__init__()
        self.register_buffer(kind, torch.frombuffer(bytearray(content), dtype=torch.uint8))
        self.classes, self.gives = classes, gives
        run: Program | _Onnx = Program(content, MAX_BYTES) if kind == "program" else _Onnx(content)
        self._run: Callable[[Tensor], Tensor] = run.__call__  # not as a submodule: its numbers are the file's
        self._dtype = run.dtype
        self._least, most = run.axes.batch
        self._most = min(BATCH, most or BATCH)
        if self._least > BATCH:
            raise BlackBoxError(f"This file wants {self._least:,} images at once: export it for at most {BATCH}.")
        self._flat = _is_flat(run.axes, image_shape)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) float -> (N, K) float32."""
        if not len(images):
            return torch.zeros(0, self.classes, device=images.device)
        given = images.detach().to("cpu", torch.float32)
        if not self._dtype.is_floating_point:
            given = given.round().clamp(0, 255)  # pixels that were normalised and back are not quite whole
        given = (given.flatten(1) if self._flat else given).to(self._dtype).contiguous()
        with torch.no_grad():
            logits = torch.cat([self._one_batch(part) for part in given.split(self._most)])
        if self.gives == "probabilities":
            logits = logits.clamp_min(LEAST_PROBABILITY).log()
        return logits.to(images.device)

    def _one_batch(self, part: Tensor) -> Tensor:
        """One batch, filled up with its last image where the file wants more."""
        count = len(part)
        if count < self._least:
            part = torch.cat([part, part[-1:].expand(self._least - count, *part.shape[1:])])
        output = self._run(part)
        if output.ndim > 2 and output.shape[2:].numel() == 1:
            output = output.flatten(1)
        if output.ndim != 2 or len(output) != len(part) or output.shape[1] != self.classes:
            raise BlackBoxError(_other_answer(tuple(output.shape), len(part), self.classes))
        return output[:count].float()


def of_state(
    state: dict[str, Tensor], image_shape: tuple[int, int, int], classes: int, gives: Literal["logits", "probabilities"]
) -> BlackBox:
    """The black box whose state_dict this is. Raises as BlackBox does."""
    for kind in ("program", "onnx"):
        if set(state) == {kind} and state[kind].dtype == torch.uint8:
            return BlackBox(kind, state[kind].numpy().tobytes(), image_shape, classes, gives).eval()
    raise BlackBoxError("This run's file is no black box: bring it anew.")


def _other_answer(shape: tuple[int, ...], images: int, classes: int) -> str:
    if len(shape) == 2 and shape[0] == images:
        return (
            f"This file gives {shape[1]:,} classes, the data set has {classes:,}: choose the data set it was made for."
        )
    answer = "x".join(map(str, shape)) or "one number"
    return (
        f"This file answers {images} images with {answer}, not with {images}x{classes} logits: export what gives"
        " logits."
    )


def _is_flat(axes: Axes, image_shape: tuple[int, int, int]) -> bool:
    """Whether images are given as rows of numbers. Raises BlackBoxError for images of another shape."""
    numbers = image_shape[0] * image_shape[1] * image_shape[2]
    if len(axes.rest) == 1 and axes.rest[0] in (numbers, 0):
        return True
    if len(axes.rest) == 3 and all(wanted in (size, 0) for wanted, size in zip(axes.rest, image_shape, strict=True)):
        return False
    wanted, ours = ("x".join(str(size or "any") for size in shape) for shape in (axes.rest, image_shape))
    raise BlackBoxError(
        f"This file reads images of {wanted}, those of the data set are {ours} (channels x height x width): choose the"
        " data set it was made for."
    )


# ---------------------------------------------------------------------------------------------------------- ONNX


class _Onnx:
    """An ONNX file in ONNX Runtime. axes, dtype: of its input, 0 for a size that it leaves open."""

    def __init__(self, content: bytes) -> None:
        made = _checked(content)
        graph = made.graph
        (given,) = _inputs(graph)
        self._input = given.name
        kind = given.type.tensor_type
        if kind.elem_type not in _NUMBERS:
            raise BlackBoxError("This ONNX file reads no pixels but another type of numbers: export it for float32.")
        self.dtype = _NUMBERS[kind.elem_type]
        sizes = [size.dim_value if size.HasField("dim_value") else 0 for size in kind.shape.dim]
        if len(sizes) < 2 or min(sizes) < 0:
            raise BlackBoxError("This ONNX file reads no batch of images: export it from images to logits.")
        self.axes = Axes((sizes[0], sizes[0]) if sizes[0] else (1, None), tuple(sizes[1:]))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.load_model_format", "ONNX")  # nothing else was checked
        try:
            self._session = onnxruntime.InferenceSession(
                made.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime raises classes of its own, and whatever a made-up file leads to
            raise BlackBoxError(f"ONNX Runtime cannot read this file: {_first_words(error)}.") from error
        self._output = self._session.get_outputs()[0].name

    def __call__(self, images: Tensor) -> Tensor:
        try:
            (output,) = self._session.run([self._output], {self._input: images.numpy()})
        except Exception as error:
            raise BlackBoxError(f"ONNX Runtime cannot run this file: {_first_words(error)}.") from error
        if not isinstance(output, np.ndarray) or output.dtype.kind not in "fiu":
            raise BlackBoxError("This ONNX file does not answer with numbers: export it from images to logits.")
        return torch.from_numpy(output)


def _first_words(error: Exception) -> str:
    """The start of what somebody else's library says."""
    plain = "".join(sign if sign.isalnum() or sign in " .,:()_-" else " " for sign in str(error))
    return " ".join(plain.split())[:160].rstrip(" .")


def _refused(flaw: str) -> BlackBoxError:
    return BlackBoxError(f"This ONNX file cannot be used: {flaw}.")


def _inputs(graph: Any) -> list[Any]:
    """What has to be given to a graph: older files list their weights as inputs too."""
    kept = {tensor.name for tensor in graph.initializer}
    return [given for given in graph.input if given.name not in kept]


def _checked(content: bytes) -> Any:
    """What an ONNX file holds, none of which has run yet, and nothing that is not understood. Raises BlackBoxError."""
    try:
        made = onnx.load_from_string(content)
        made.DiscardUnknownFields()
    except Exception as error:  # protobuf's own, of several kinds
        raise BlackBoxError("This is no ONNX file, or it is damaged or cut short: export it anew.") from error
    graph = made.graph
    if not graph.node or not graph.output:
        raise BlackBoxError("This is no ONNX file, or it is damaged or cut short: export it anew.")
    if len(graph.node) > MAX_NODES:
        raise _refused(f"its graph has more than {MAX_NODES:,} nodes")
    if len(made.functions):
        raise _refused("it holds functions of its own: inline them (onnx.inliner) and save it again")
    if len(graph.sparse_initializer):
        raise _refused("it holds sparse weights")
    for node in graph.node:
        _check_node(node)
    for tensor in [*graph.initializer, *(attribute.t for node in graph.node for attribute in node.attribute)]:
        if tensor.data_location == onnx.TensorProto.EXTERNAL or len(tensor.external_data):
            raise _refused("its weights lie in another file: export it with external_data=False, so that it holds them")
    if len(_inputs(graph)) != 1:
        raise _refused(f"it wants {len(_inputs(graph))} inputs; a teacher is given images alone")
    _check_sizes(graph)
    return made


def _check_node(node: Any) -> None:
    name = _first_words(ValueError(f"{node.domain}.{node.op_type}" if node.domain else node.op_type))
    if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
        raise _refused(f"it calls {name}, which is not among the operators that KD Lab lets an uploaded file call")
    for attribute in node.attribute:
        if attribute.HasField("g") or len(attribute.graphs) or attribute.HasField("sparse_tensor"):
            raise _refused(f"its {name} holds a graph of its own")
        if attribute.name == "training_mode" and attribute.i:
            raise _refused("it was exported as in training, with batch statistics on: call model.eval() first")


def _check_sizes(graph: Any) -> None:
    """No size follows from what is in an image: neither the time nor the room that it takes may."""
    of_values = {_inputs(graph)[0].name}
    known = {tensor.name for tensor in graph.initializer} | of_values | {""}
    for node in graph.node:
        if any(name not in known for name in node.input):
            raise _refused("its nodes do not stand in the order in which they are computed")
        known.update(node.output)
        sizes = _SIZES.get(node.op_type, ())
        if node.op_type.startswith("Reduce"):
            sizes = (1,)
        if any(index < len(node.input) and node.input[index] in of_values for index in sizes):
            raise _refused(f"the size of its {node.op_type} follows from what is in the image")
        if node.op_type not in _OF_SHAPE_ALONE and of_values.intersection(node.input):
            of_values.update(node.output)
