"""A teacher of which nothing is known but its logits: an ONNX file or a torch.export program, as a module like others.

Nothing in such a file runs but operators that compute numbers from numbers. An ONNX graph is held to OPERATORS, and no
size in it may follow from the values of an image: so what one batch of images takes, every batch takes
(models.torch_export holds torch.export's graphs to the same). A black box computes on the CPU, BATCH images at a time.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from kd_core.base.config import LabError
from kd_core.base.templates import said
from kd_core.models.architectures.architecture import ImageShape
from kd_core.models.config import ExternalConfig
from kd_core.models.torch_export import Axes, Program

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
ML_OPERATORS = frozenset(
    {"Imputer", "LinearClassifier", "Normalizer", "SVMClassifier", "Scaler", "TreeEnsembleClassifier"}
)
"""Of the domain ai.onnx.ml, as scikit-learn's models are written. ONNX Runtime 1.32 checks the lengths and indices of
their attributes before it runs them: of 58 damaged files it refused 46, and computed numbers with the others."""
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

    external: of its run; kind, output, gives and classes say how the file is read. classes: K; None for as many as the
    file gives. Its only state is the file itself, as bytes under the name of its kind. Raises
    BlackBoxError or ProgramError where the file cannot be used, or is for other images.
    """

    def __init__(self, content: bytes, image_shape: ImageShape, classes: int | None, external: ExternalConfig) -> None:
        super().__init__()
        kind = external.kind
        self.register_buffer(kind, torch.frombuffer(bytearray(content), dtype=torch.uint8))
        self.classes, self.external = classes, external
        run = open_file(content, external)
        self._run: Callable[[Tensor], Tensor] = run.__call__  # not as a submodule: its numbers are the file's
        self._dtype = run.dtype
        self._least, most = run.axes.batch
        self._most = min(BATCH, most or BATCH)
        if self._least > BATCH:
            raise BlackBoxError(
                said(
                    "This file wants {least:,} images at once: export it for at most {most}.",
                    least=self._least,
                    most=BATCH,
                )
            )
        arrange = _arrangement(run.axes.rest, image_shape)
        if arrange is None:
            raise BlackBoxError(_other_images(run.axes.rest, image_shape))
        self._arrange = arrange

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) float -> (N, K) float32."""
        if not len(images):
            return torch.zeros(0, self.classes or 0, device=images.device)
        given = images.detach().to("cpu", torch.float32)
        if not self._dtype.is_floating_point:
            given = given.round().clamp(0, 255)  # pixels that were normalised and back are not quite whole
        given = self._arrange(given).to(self._dtype).contiguous()
        with torch.no_grad():
            logits = torch.cat([self._one_batch(part) for part in given.split(self._most)])
        if self.external.gives == "probabilities":
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
        if output.ndim != 2 or len(output) != len(part):
            raise BlackBoxError(_other_answer(tuple(output.shape), len(part), self.classes))
        if self.external.classes is not None and max(self.external.classes) < output.shape[1]:
            output = output[:, list(self.external.classes)]
        if self.classes not in (None, output.shape[1]):
            raise BlackBoxError(_other_answer(tuple(output.shape), len(part), self.classes))
        return output[:count].float()


def open_file(content: bytes, external: ExternalConfig) -> "Program | _Onnx":
    """A file whose one output can be asked for; axes and dtype are of its input. Raises as BlackBox does."""
    output = external.output
    return Program(content, MAX_BYTES, output) if external.kind == "program" else _Onnx(content, output)


def outputs_of(content: bytes, kind: str) -> tuple[str, ...]:
    """The names of a file's outputs. Raises as BlackBox does."""
    if kind == "program":
        return Program(content, MAX_BYTES).outputs
    return tuple(given.name for given in _loaded(content).graph.output)


def of_state(state: dict[str, Tensor], image_shape: ImageShape, classes: int, external: ExternalConfig) -> BlackBox:
    """The black box whose state_dict this is. Raises as BlackBox does."""
    kind = external.kind
    if set(state) == {kind} and state[kind].dtype == torch.uint8:
        return BlackBox(state[kind].numpy().tobytes(), image_shape, classes, external).eval()
    raise BlackBoxError(said("This run's file is no black box: bring it anew."))


def _other_answer(shape: tuple[int, ...], images: int, classes: int | None) -> str:
    if len(shape) == 2 and shape[0] == images and classes is not None:
        return said(
            "This file gives {given:,} classes, the data set has {classes:,}: choose the data set it was made for.",
            given=shape[1],
            classes=classes,
        )
    return said(
        "This file answers {images} images with {answer}, not with {images}x{classes} logits: export what gives"
        " logits.",
        images=images,
        answer="x".join(map(str, shape)) or said("one number"),
        classes=classes or "K",
    )


def shape_read(axes: Sequence[int], image_shape: ImageShape, side: int | None = None) -> ImageShape:
    """(C, H, W) of the images that a file reads whose input has these axes beside the batch's; 0 is any size.

    image_shape: of the data set. side: to which its images are to be resized, None to leave them. Colour is made grey
    and grey colour where the file wants it. Raises BlackBoxError where none fits.
    """
    channels, height, width = image_shape
    sizes = (height, width) if side is None else (side, side)
    for count in (channels, 1, 3) if channels in (1, 3) else (channels,):
        if _arrangement(axes, (count, *sizes)) is not None:
            return count, *sizes
    raise BlackBoxError(_other_images(axes, image_shape))


def _arrangement(axes: Sequence[int], shape: ImageShape) -> Callable[[Tensor], Tensor] | None:
    """What lays images (N, C, H, W) out as a file reads them; None where it reads none of this shape."""
    channels, height, width = shape
    layouts: list[tuple[tuple[int, ...], Callable[[Tensor], Tensor]]] = [
        ((channels * height * width,), lambda images: images.flatten(1)),
        (shape, lambda images: images),
        ((height, width, channels), lambda images: images.permute(0, 2, 3, 1)),
        *([((height, width), lambda images: images.squeeze(1))] if channels == 1 else []),
    ]
    for layout, arrange in layouts:
        if len(axes) == len(layout) and all(wanted in (0, size) for wanted, size in zip(axes, layout, strict=True)):
            return arrange
    return None


def _other_images(axes: Sequence[int], image_shape: ImageShape) -> str:
    wanted, ours = ("x".join(str(size or "any") for size in shape) for shape in (axes, image_shape))
    sides = [size for size in axes if size > 4] if len(axes) in (2, 3) else []
    if sides and max(sides) not in image_shape:
        return said(
            "This file reads images of {wanted}, those of the data set are {ours} (channels x height x width): choose"
            " the data set it was made for, or have them resized, to a side of {side}.",
            wanted=wanted,
            ours=ours,
            side=max(sides),
        )
    return said(
        "This file reads images of {wanted}, those of the data set are {ours} (channels x height x width): choose the"
        " data set it was made for.",
        wanted=wanted,
        ours=ours,
    )


# ---------------------------------------------------------------------------------------------------------- ONNX


class _Onnx:
    """An ONNX file in ONNX Runtime, asked for one of its outputs. axes, dtype: of its input, 0 for an open size."""

    def __init__(self, content: bytes, output: int) -> None:
        made = _loaded(content)
        graph = made.graph
        if len(graph.output) > 1:
            _keep_output(graph, output)
        _check(made)
        (given,) = _inputs(graph)
        self._input = given.name
        kind = given.type.tensor_type
        if kind.elem_type not in _NUMBERS:
            raise BlackBoxError(
                said("This ONNX file reads no pixels but another type of numbers: export it for float32.")
            )
        self.dtype = _NUMBERS[kind.elem_type]
        sizes = [size.dim_value if size.HasField("dim_value") else 0 for size in kind.shape.dim]
        if len(sizes) < 2 or min(sizes) < 0:
            raise BlackBoxError(said("This ONNX file reads no batch of images: export it from images to logits."))
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
            why = _first_words(error)
            raise BlackBoxError(said("ONNX Runtime cannot read this file: {why}.", why=why)) from error
        self._output = self._session.get_outputs()[0].name

    def __call__(self, images: Tensor) -> Tensor:
        try:
            (output,) = self._session.run([self._output], {self._input: images.numpy()})
        except Exception as error:
            why = _first_words(error)
            raise BlackBoxError(said("ONNX Runtime cannot run this file: {why}.", why=why)) from error
        if not isinstance(output, np.ndarray) or output.dtype.kind not in "fiu":
            raise BlackBoxError(said("This ONNX file does not answer with numbers: export it from images to logits."))
        return torch.from_numpy(output)


def _first_words(error: Exception) -> str:
    """The start of what somebody else's library says."""
    plain = "".join(sign if sign.isalnum() or sign in " .,:()_-" else " " for sign in str(error))
    return " ".join(plain.split())[:160].rstrip(" .")


def _refused(flaw: str) -> BlackBoxError:
    return BlackBoxError(said("This ONNX file cannot be used: {flaw}.", flaw=flaw))


def _inputs(graph: Any) -> list[Any]:
    """What has to be given to a graph: older files list their weights as inputs too."""
    kept = {tensor.name for tensor in graph.initializer}
    return [given for given in graph.input if given.name not in kept]


def _loaded(content: bytes) -> Any:
    """What an ONNX file holds, none of which has run yet, and nothing that is not understood. Raises BlackBoxError."""
    try:
        made = onnx.load_from_string(content)
        made.DiscardUnknownFields()
    except Exception as error:  # protobuf's own, of several kinds
        raise BlackBoxError(said("This is no ONNX file, or it is damaged or cut short: export it anew.")) from error
    if not made.graph.node or not made.graph.output:
        raise BlackBoxError(said("This is no ONNX file, or it is damaged or cut short: export it anew."))
    if len(made.graph.node) > MAX_NODES:
        raise _refused(said("its graph has more than {count:,} nodes", count=MAX_NODES))
    return made


def _keep_output(graph: Any, index: int) -> None:
    """Leave nothing in a graph but what one of its outputs takes, and of scikit-learn's maps the tensor within."""
    output = graph.output[index]
    makes = {name: node for node in graph.node for name in node.output}
    if output.name in makes and makes[output.name].op_type == "ZipMap":
        output = onnx.helper.make_empty_tensor_value_info(makes[output.name].input[0])
    needed, waiting = set(), [output.name]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += makes[name].input if name in makes else []
    nodes = [node for node in graph.node if needed.intersection(node.output)]
    kept = [tensor for tensor in graph.initializer if tensor.name in needed]
    for field, values in (("node", nodes), ("initializer", kept), ("output", [output])):
        values = [type(value).FromString(value.SerializeToString()) for value in values]
        graph.ClearField(field)
        getattr(graph, field).extend(values)


def _check(made: Any) -> None:
    """Raise BlackBoxError for anything in a graph that is not let run."""
    graph = made.graph
    if len(made.functions):
        raise _refused(said("it holds functions of its own: inline them (onnx.inliner) and save it again"))
    if len(graph.sparse_initializer):
        raise _refused(said("it holds sparse weights"))
    for node in graph.node:
        _check_node(node)
    for tensor in [*graph.initializer, *(attribute.t for node in graph.node for attribute in node.attribute)]:
        if tensor.data_location == onnx.TensorProto.EXTERNAL or len(tensor.external_data):
            raise _refused(
                said("its weights lie in another file: export it with external_data=False, so that it holds them")
            )
    if len(_inputs(graph)) != 1:
        raise _refused(said("it wants {count} inputs; a teacher is given images alone", count=len(_inputs(graph))))
    _check_sizes(graph)


def _check_node(node: Any) -> None:
    name = _first_words(ValueError(f"{node.domain}.{node.op_type}" if node.domain else node.op_type))
    allowed = {"": OPERATORS, "ai.onnx": OPERATORS, "ai.onnx.ml": ML_OPERATORS}.get(node.domain, frozenset())
    if node.op_type not in allowed:
        learn = node.domain == "ai.onnx.ml" or node.op_type == "Scan"
        raise _refused(
            said(
                "it calls {name}, which is not among the operators that KD Lab lets an uploaded file call; of"
                " scikit-learn's models, linear ones, MLPs, trees, forests and SVMs can be brought",
                name=name,
            )
            if learn
            else said(
                "it calls {name}, which is not among the operators that KD Lab lets an uploaded file call", name=name
            )
        )
    for attribute in node.attribute:
        if attribute.HasField("g") or len(attribute.graphs) or attribute.HasField("sparse_tensor"):
            raise _refused(said("its {name} holds a graph of its own", name=name))
        if attribute.name == "training_mode" and attribute.i:
            raise _refused(said("it was exported as in training, with batch statistics on: call model.eval() first"))


def _check_sizes(graph: Any) -> None:
    """No size follows from what is in an image: neither the time nor the room that it takes may."""
    of_values = {_inputs(graph)[0].name}
    known = {tensor.name for tensor in graph.initializer} | of_values | {""}
    for node in graph.node:
        if any(name not in known for name in node.input):
            raise _refused(said("its nodes do not stand in the order in which they are computed"))
        known.update(node.output)
        sizes = _SIZES.get(node.op_type, ())
        if node.op_type.startswith("Reduce"):
            sizes = (1,)
        if any(index < len(node.input) and node.input[index] in of_values for index in sizes):
            raise _refused(said("the size of its {name} follows from what is in the image", name=node.op_type))
        if node.op_type not in _OF_SHAPE_ALONE and of_values.intersection(node.input):
            of_values.update(node.output)
