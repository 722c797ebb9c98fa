"""A torch.export program (.pt2) read and run without torch's own loader, which would trust it.

torch.export.load (torch 2.13) says itself that it must not be given what one does not trust, and rightly so:

    weights and constants       may be marked use_pickle, and are then given to torch.load(weights_only=False)
    custom objects              are given to pickle.loads and to torch's own unpickler of script objects
    sample inputs               are a pickle in every file; where weights_only=True refuses them, torch tries False
    weights/*.pt, constants/*   the older layout, is read in the same way
    shapes                      are sympy expressions as text, which sympy evaluates as Python
    aotinductor                 is compiled code, which is loaded as a library
    the graph                   calls any operator there is, those that open files among them (aten::from_file)

So what is read here is the archive as a zip, its JSON, and raw numbers, all bounded before they are unpacked; nothing
else in it is opened. What the graph may call are OPERATORS, which compute numbers from numbers, in a time and room that
follow from the shape of the images alone: there is no operator among them whose result's size depends on a value.
"""

import json
import re
from collections.abc import Callable, Sequence
from operator import add, floordiv, mul, sub
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from kd_core.base.archive import Archive, DamagedError, FlawError, expect, oddities
from kd_core.base.config import LabError
from kd_core.base.templates import said, said_by

MAX_JSON_BYTES = 30_000_000
MAX_MEMBERS, MAX_NODES = 20_000, 20_000
SCHEMA = 8
"""The major version of torch's format, as torch 2.8 to 2.13 write it."""
MAX_RANK = 8

_AS_ARRAYS = """
abs add.Tensor add.Scalar add_.Tensor add_.Scalar clamp clamp_ clamp_min clamp_max clone contiguous copy div.Tensor
div.Scalar div_.Tensor eq.Scalar eq.Tensor exp erf fill_.Scalar fill_.Tensor full_like ge.Scalar ge.Tensor gt.Scalar
gt.Tensor le.Scalar le.Tensor lift_fresh_copy log log1p logical_and logical_not logical_or lt.Scalar lt.Tensor
masked_fill.Scalar masked_fill.Tensor masked_fill_.Scalar maximum minimum mul.Tensor mul.Scalar mul_.Tensor ne.Scalar
ne.Tensor neg ones_like pow.Tensor_Scalar pow.Tensor_Tensor reciprocal rsqrt rsub.Scalar sign sin cos sqrt square
sub.Tensor sub.Scalar sub_.Tensor tanh tanh_ to.device to.dtype to.dtype_layout to.other _to_copy type_as where.self
where.ScalarOther where.Scalar zeros_like new_zeros new_ones new_full zeros ones full arange arange.start
arange.start_step scalar_tensor
"""
_AS_LAYERS = """
_adaptive_avg_pool2d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_max_pool2d addmm avg_pool1d avg_pool2d
_native_batch_norm_legit_no_training batch_norm baddbmm bilinear bmm celu conv1d conv2d.default conv2d.padding
convolution dropout dropout_ alpha_dropout feature_dropout elu elu_ einsum embedding gelu glu group_norm hardsigmoid
hardsigmoid_ hardswish hardswish_ hardtanh hardtanh_ instance_norm layer_norm leaky_relu leaky_relu_ linear
log_sigmoid log_softmax.int _log_softmax matmul max_pool1d max_pool2d max_pool2d_with_indices mish mish_ mm
native_group_norm native_layer_norm pixel_shuffle prelu relu relu_ relu6 relu6_ rms_norm scaled_dot_product_attention
selu selu_ sigmoid sigmoid_ silu silu_ softmax.int _softmax softplus threshold upsample_bilinear2d
upsample_bilinear2d.vec upsample_nearest2d upsample_nearest2d.vec
"""
_AS_SHAPES = """
alias amax amin argmax argmin any any.dim all all.dim as_tensor broadcast_to cat channel_shuffle chunk constant_pad_nd
cumsum detach expand expand_as flatten.using_ints flip gather index.Tensor index_select linalg_vector_norm max max.dim
mean mean.dim min min.dim movedim.int narrow norm.ScalarOpt_dim pad permute prod.dim_int repeat reshape roll select.int
slice.Tensor split.Tensor split_with_sizes squeeze squeeze.dim squeeze.dims stack std.correction sum sum.dim_IntList
sym_size.int t tile transpose.int unbind.int unflatten.int unsqueeze var.correction var_mean.correction view view_as
_unsafe_view reshape_as
"""
OPERATORS = frozenset(
    f"{name}.default" if "." not in name else name for name in " ".join((_AS_ARRAYS, _AS_LAYERS, _AS_SHAPES)).split()
)
"""What a graph may call of torch.ops.aten, with the overload."""
SKIPPED = frozenset(
    {"_assert_tensor_metadata.default", "_assert_scalar.default", "sym_constrain_range_for_size.default"}
)
"""What torch adds for its own checks."""
_TRAINING = {"batch_norm.default": "training", "instance_norm.default": "use_input_stats"} | dict.fromkeys(
    ("dropout.default", "dropout_.default", "alpha_dropout.default", "feature_dropout.default"), "train"
)
"""What tells of an operator that it is at work as in training."""
_WHOLE_NUMBERS: dict[str, Callable[[Any, Any], Any]] = {
    f"_operator.{name}": function
    for name, function in (("add", add), ("sub", sub), ("mul", mul), ("floordiv", floordiv))
}
_DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
_MEMORY_FORMATS = {1: torch.contiguous_format, 2: torch.channels_last, 4: torch.preserve_format}
_PLAIN: dict[str, Any] = {"as_int": int, "as_float": (int, float), "as_bool": bool, "as_string": str}
_LISTS: dict[str, Any] = {"as_ints": int, "as_floats": (int, float), "as_bools": bool}
_SYMBOL = re.compile(r"(?:Symbol\('(\w{1,20})'(?:, \w{1,20}=(?:True|False))*\)|(\w{1,20}))")


class ProgramError(LabError):
    """A program that cannot be used; a sentence says why and what to do."""


class Axes(NamedTuple):
    """How many numbers an axis of the input may have: batch is (least, most), rest those of one image."""

    batch: tuple[int, int | None]
    rest: tuple[int, ...]


class _Name(str):
    """A value of the graph, where it is not stated."""


class _OfInput:
    """The device of the input, whatever the graph was written on."""


class _Step(NamedTuple):
    call: Callable[..., Any]
    positional: tuple[Any, ...]
    named: dict[str, Any]
    results: tuple[Any, ...]  # a name, None for what nobody uses, or a list of names
    done_with: tuple[str, ...]


class Program(nn.Module):
    """A graph as torch.export wrote it: one tensor in, one of its outputs out, without gradients.

    output: which of them. outputs: their names. axes, dtype: of its input. Raises ProgramError for what is not
    understood or not allowed.
    """

    axes: Axes
    dtype: torch.dtype
    outputs: tuple[str, ...]

    def __init__(self, content: bytes, most_bytes: int, output: int = 0) -> None:
        super().__init__()
        self._wanted = output
        try:
            self._read(_Members(Archive(content), most_bytes))
        except (DamagedError, OSError, EOFError) as error:
            raise ProgramError(said("This torch.export program is damaged or cut short: save it anew.")) from error
        except FlawError as flaw:
            why = said_by(flaw)
            raise ProgramError(said("This torch.export program cannot be used: {flaw}.", flaw=why)) from flaw
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError, RecursionError) as error:
            raise ProgramError(
                said(
                    "This torch.export program is not as torch 2.8 and later write it: save it anew with"
                    " torch.export.save."
                )
            ) from error

    def forward(self, images: Tensor) -> Tensor:
        """(N, ...) as axes and dtype say -> the output. Raises ProgramError where that cannot be computed."""
        try:
            with torch.no_grad():
                return self._computed(images)
        except (RuntimeError, KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
            if "memory" in str(error):
                raise
            words = " ".join(re.sub(r"[^\w .,:()=-]", " ", str(error)).split())[:160]
            raise ProgramError(said("This torch.export program cannot be computed: {why}.", why=words)) from error

    def _computed(self, images: Tensor) -> Tensor:
        values: dict[str, Any] = {**dict(self.named_buffers(recurse=False)), self._input: images}

        def stated(argument: Any) -> Any:
            if isinstance(argument, _Name):
                return values[argument]
            if isinstance(argument, list):
                return [stated(item) for item in argument]
            return images.device if isinstance(argument, _OfInput) else argument

        with torch.autocast(images.device.type, enabled=False):
            for step in self._steps:
                outputs = step.call(
                    *map(stated, step.positional), **{name: stated(item) for name, item in step.named.items()}
                )
                for name, value in zip(step.results, (outputs,) if len(step.results) == 1 else outputs, strict=False):
                    if isinstance(name, list):
                        values.update(zip(name, value, strict=True))
                    elif name is not None:
                        values[name] = value
                for name in step.done_with:
                    values.pop(name, None)
        output: Tensor = values[self._output]
        return output

    # ---------------------------------------------------------------------------------------------------- reading

    def _read(self, archive: "_Members") -> None:
        program = archive.json(f"models/{archive.model}.json")
        expect(
            program["schema_version"]["major"] == SCHEMA,
            said("another version of torch wrote it: save it with torch 2.8 to 2.13"),
        )
        module = program["graph_module"]
        graph, signature = module["graph"], module["signature"]
        expect(len(graph["nodes"]) <= MAX_NODES, said("its graph has more than {count:,} nodes", count=MAX_NODES))
        expect(not graph.get("custom_obj_values"), said("it holds custom objects, which run code of their own"))
        kept = {"weights": archive.tensors("weights"), "constants": archive.tensors("constants")}
        inputs = []
        for spec in signature["input_specs"]:
            ((kind, argument),) = spec.items()
            if kind == "user_input":
                inputs.append(argument["arg"]["as_tensor"]["name"])
            elif kind in ("parameter", "buffer", "tensor_constant"):
                named = argument[f"{kind}_name"]
                tensor = kept["weights"].get(named, kept["constants"].get(named))
                expect(tensor is not None, said("its numbers called {name} are missing", name=named[:60]))
                self.register_buffer(_fresh(argument["arg"]["name"]), tensor)
            else:
                raise FlawError(
                    said("its graph asks for a {kind}, beside numbers and images", kind=kind.replace("_", " "))
                )
        expect(len(inputs) == 1, said("it wants {count} inputs; a teacher is given images alone", count=len(inputs)))
        self._input = inputs[0]
        outputs = signature["output_specs"]
        changed = [kind for spec in outputs for kind in spec if kind != "user_output"]
        expect(
            not changed,
            said("it changes its own numbers when it is asked: call model.eval() before torch.export.export"),
        )
        self.outputs = tuple(spec["user_output"]["arg"]["as_tensor"]["name"] for spec in outputs)
        self._output = self.outputs[self._wanted]
        meta = graph["tensor_values"][self._input]
        self.dtype = _DTYPES[meta["dtype"]]
        self.axes = _axes(meta["sizes"], program["range_constraints"])
        self._steps = _steps(graph["nodes"], self._output)


class _Members:
    """The members of a .pt2 archive that are read: its graph, and numbers as raw bytes."""

    def __init__(self, archive: Archive, most_bytes: int) -> None:
        archive.check_size(MAX_MEMBERS, most_bytes)
        expect(
            not any("packing" in oddities(entry) for entry in archive.entries), said("it is packed in a way of its own")
        )
        self._archive = archive
        self._full_names: dict[str, str] = {}
        for full in (entry.filename for entry in archive.entries):
            name = full.partition("/")[2]
            expect(name not in self._full_names, said("it holds {name} twice", name=name[:60]))
            self._full_names[name] = full
        names = list(self._full_names)
        if "serialized_exported_program.json" in archive.sizes:
            raise FlawError(said("an old torch wrote it: save it with torch 2.8 or later"))
        expect(not any(name.startswith("data/aotinductor") for name in names), said("it holds compiled code"))
        models = [name for name in names if name.startswith("models/") and name.endswith(".json")]
        expect(len(models) == 1, said("it holds {count} programs; a teacher is one", count=len(models)))
        self.model = models[0].removeprefix("models/").removesuffix(".json")

    def json(self, name: str) -> Any:
        return json.loads(self._bytes(name, MAX_JSON_BYTES))

    def _bytes(self, name: str, most_bytes: int) -> bytes:
        expect(name in self._full_names, said("it holds no {name}", name=name[:80]))
        return self._archive.read(self._full_names[name], most_bytes)

    def tensors(self, part: str) -> dict[str, Tensor]:
        """Its weights or constants by their names. Those that share a member share their memory."""
        config = self.json(f"data/{part}/{self.model}_{part}_config.json")["config"]
        raw: dict[str, bytes] = {}
        tensors = {}
        for name, entry in config.items():
            path, meta = entry["path_name"], entry["tensor_meta"]
            pickled = entry["use_pickle"] or meta is None or path.endswith(".pt")
            expect(
                not pickled,
                said("its {part} are pickled, and a pickle can run code: only plain numbers are read", part=part),
            )
            sizes = [_whole(item) for item in meta["sizes"]]
            strides, offset = [_whole(item) for item in meta["strides"]], _whole(meta["storage_offset"])
            expect(
                len(sizes) <= MAX_RANK and len(sizes) == len(strides),
                said("its {name} has a shape of its own", name=name[:60]),
            )
            dtype = _DTYPES[meta["dtype"]]
            if path not in raw:
                raw[path] = self._bytes(f"data/{part}/{path}", 2**40)
            flat = torch.frombuffer(bytearray(raw[path]), dtype=dtype) if raw[path] else torch.zeros(0, dtype=dtype)
            last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
            empty = 0 in sizes
            fits = offset >= 0 and min(strides, default=0) >= 0 and (empty or last < len(flat))
            expect(fits, said("its {name} is larger than what is stored of it", name=name[:60]))
            tensors[name] = (
                torch.zeros(sizes, dtype=dtype) if empty else flat.as_strided(sizes, strides, offset).clone()
            )
        return tensors


def _fresh(name: str) -> str:
    expect(
        name.isidentifier() and not hasattr(nn.Module, name),
        said("its graph calls a value {name}", name=repr(name[:60])),
    )
    return name


def _whole(size: Any) -> int:
    """A stated size: an expression in its place is none."""
    value = size["as_int"]
    expect(type(value) is int and abs(value) < 2**40, said("a shape in it is no whole number"))
    return int(value)


def _axes(sizes: Sequence[Any], ranges: Any) -> Axes:
    """The shape of the input, whose first axis alone may be left open."""
    expect(1 < len(sizes) <= MAX_RANK, said("its input is no batch of images"))
    rest = []
    for size in sizes[1:]:
        expect(
            "as_int" in size,
            said("it leaves the size of an image open: export it for the size that it was trained on"),
        )
        rest.append(_whole(size))
    if "as_int" in sizes[0]:
        fixed = _whole(sizes[0])
        return Axes((fixed, fixed), tuple(rest))
    symbol = _SYMBOL.fullmatch(sizes[0]["as_expr"]["expr_str"])
    expect(symbol is not None, said("the number of its images follows a formula: export it for any number"))
    assert symbol is not None  # noqa: S101  of _expect
    bounds = ranges.get(symbol[1] or symbol[2]) or {}
    least, most = bounds.get("min_val"), bounds.get("max_val")
    return Axes((max(1, int(least or 1)), None if most is None or most > 10**6 else int(most)), tuple(rest))


def _steps(nodes: Sequence[Any], output: str) -> list[_Step]:
    """The calls of a graph, in order, with what is not needed after each."""
    drafts: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], tuple[Any, ...]]] = []
    last_use: dict[str, int] = {}
    for node in nodes:
        target = node["target"]
        operator = target.removeprefix("torch.ops.aten.")
        if target != operator and operator in SKIPPED:
            continue
        if target != operator and operator in OPERATORS:
            name, _, overload = operator.partition(".")
            call: Callable[..., Any] = getattr(getattr(torch.ops.aten, name), overload)
            call = _index if operator == "index.Tensor" else call
        elif target in _WHOLE_NUMBERS:
            call = _WHOLE_NUMBERS[target]
        else:
            plain = re.sub(r"[^\w.:<> ]", "?", str(target))[:80]
            raise FlawError(
                said("it calls {name}, which is not among the operators that KD Lab lets a program call", name=plain)
            )
        positional, named = [], {}
        for given in node["inputs"]:
            value = _argument(given["arg"])
            if given["name"] == _TRAINING.get(operator):
                expect(
                    value is False,
                    said(
                        "it was exported as in training, with dropout or batch statistics on: call model.eval() first"
                    ),
                )
            if given["kind"] == 2:
                named[given["name"]] = value
            else:
                positional.append(value)
        results = tuple(_result(item) for item in node["outputs"])
        for used in _names([*positional, *named.values()]):
            last_use[used] = len(drafts)
        drafts.append((call, tuple(positional), named, results))
    done: dict[int, list[str]] = {}
    for name, index in last_use.items():
        if name != output:
            done.setdefault(index, []).append(name)
    return [_Step(*draft, done_with=tuple(done.get(index, ()))) for index, draft in enumerate(drafts)]


def _index(tensor: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    """aten::index but for masks: how much a mask chooses depends on what is in it."""
    if any(item is not None and item.dtype in (torch.bool, torch.uint8) for item in indices):
        raise ProgramError(
            said("This torch.export program cannot be used: it chooses by a mask, so its size follows values.")
        )
    chosen: Tensor = torch.ops.aten.index.Tensor(tensor, indices)
    return chosen


def _names(arguments: Sequence[Any]) -> list[str]:
    names: list[str] = []
    for item in arguments:
        names += _names(item) if isinstance(item, list) else [item] if isinstance(item, _Name) else []
    return names


def _argument(argument: Any) -> Any:
    """What an operator is given: a number, a text, a _Name, or lists of these."""
    ((kind, value),) = argument.items()
    if kind in _PLAIN:
        expect(isinstance(value, _PLAIN[kind]), said("an argument in its graph is not what it says"))
        return value
    if kind in _LISTS:
        expect(
            all(isinstance(item, _LISTS[kind]) for item in value), said("an argument in its graph is not what it says")
        )
        return list(value)
    match kind:
        case "as_none":
            return None
        case "as_tensor":
            return _Name(value["name"])
        case "as_tensors":
            return [_Name(item["name"]) for item in value]
        case "as_optional_tensor":
            return _optional(value)
        case "as_optional_tensors":
            return [_optional(item) for item in value]
        case "as_sym_int":
            return _symbolic(value)
        case "as_sym_ints":
            return [_symbolic(item) for item in value]
        case "as_scalar_type":
            return _DTYPES[value]
        case "as_memory_format":
            return _MEMORY_FORMATS[value]
        case "as_layout":
            expect(value == 7, said("it works with sparse tensors"))
            return torch.strided
        case "as_device":
            return _OfInput()
    raise FlawError(said("an operator in its graph is given {kind}", kind=_in_print(kind)))


def _in_print(kind: str) -> str:
    return kind.removeprefix("as_").replace("_", " ")[:40]


def _optional(value: Any) -> Any:
    return _Name(value["as_tensor"]["name"]) if "as_tensor" in value else None


def _symbolic(value: Any) -> Any:
    return _Name(value["as_name"]) if "as_name" in value else int(value["as_int"])


def _result(output: Any) -> Any:
    ((kind, value),) = output.items()
    match kind:
        case "as_tensor":
            return str(value["name"]) or None
        case "as_tensors":
            return [str(item["name"]) for item in value]
        case "as_sym_int":
            return str(value["as_name"])
        case "as_none":
            return None
    raise FlawError(said("an operator in its graph gives {kind}", kind=_in_print(kind)))
