"""An exported student as one HTML file that needs no network: a page that runs the model on what its user draws.

A digit is drawn; of other data, whose images nobody could draw, a picture is chosen from the user's files.

onnxruntime-web is 14 MB of WebAssembly, too much to carry along. So the graph of the ONNX file is written out as a list
of operations with their numbers, and the page holds a small interpreter for just those operations: the ones of the
exported mlp and cnn, in float32 and int8. Other architectures get no page. No torch here.
"""

import base64
import json
from pathlib import Path
from typing import Any

from kd_core.base.files import read_bytes, read_text
from kd_core.base.templates import filled, said, said_by
from kd_core.data.catalogue import HANDWRITTEN, info_of
from kd_core.exchange.export import checks as export_checks
from kd_core.exchange.export.checks import ExportError
from kd_core.exchange.javascript.scripts import scripts
from kd_core.runs.run import RunFolder

MAX_BYTES = 15_000_000

_ATTRIBUTES: dict[str, dict[str, Any]] = {
    "Sub": {},
    "Div": {},
    "Relu": {},
    "Reshape": {"allowzero": (0, 1)},
    "Gemm": {"alpha": (1.0,), "beta": (1.0,), "transA": (0,), "transB": (1,)},
    "Conv": {"group": (1,), "dilations": ([1, 1],), "auto_pad": (b"NOTSET",), "pads": None, "strides": None,
             "kernel_shape": None},
    "MaxPool": {"dilations": ([1, 1],), "auto_pad": (b"NOTSET",), "ceil_mode": (0,), "storage_order": (0,),
                "pads": ([0, 0, 0, 0],), "strides": None, "kernel_shape": None},
    "ReduceMean": {"keepdims": (1,), "noop_with_empty_axes": (0,)},
    "QuantizeLinear": {"axis": (0, 1)},
    "DequantizeLinear": {"axis": (0,)},
}  # fmt: skip
"""Operation -> attribute -> the values that the interpreter knows; None: any, handed on to it."""
_TYPES = {"float32", "int8", "uint8", "int32", "int64"}


def browser_page(folder: RunFolder) -> bytes | None:
    """The page of an exported run, or None where it can have none: browser_page_problem says why.

    It runs the int8 file where that passed its check, else the float32 one.
    """
    page = _page(folder)
    return None if isinstance(page, str) else page


def browser_page_problem(folder: RunFolder) -> str | None:
    """Why an exported run has no page, in a sentence, or None where it has one."""
    page = _page(folder)
    return page if isinstance(page, str) else None


def _page(folder: RunFolder) -> bytes | str:
    checks = export_checks.read_checks(folder)
    if checks is None:
        return said("This run has not been exported yet: export it first.")
    passed = [name for name in (export_checks.ONNX_INT8, export_checks.ONNX) if checks.file(name).passed]
    if not passed:
        return said("No ONNX file of this run passed its check, so there is nothing that a page could run.")
    if checks.options.batch not in (None, 1):
        return said("The page shows the model one image at a time: write the files for any number of images.")
    try:
        card = json.loads(read_text(folder.card))
        shape, class_names = card["input"]["shape"], card["class_names"]
        graph = read_bytes(folder.export / passed[0])
    except (OSError, ValueError, KeyError, TypeError):
        return said("The card of this run is missing or damaged: run it again.")
    try:
        program = to_program(graph)
    except ExportError as error:
        return said_by(error)
    check = checks.file(passed[0])
    draws = card["config"]["dataset"] in HANDWRITTEN
    errors = f"{check.test_errors:,} test errors of {check.test_examples:,}"
    page = filled(
        Path(__file__).with_suffix(".html"),
        title=f"{card['config']['role'].capitalize()} on {info_of(card['config']['dataset']).label}",
        about=f"{card['results']['parameters']:,} parameters, {errors}.",
        file=passed[0],
        scripts=scripts("maths", "as_mnist", "interpreter", "sheet"),
        draws=draws,
        facts={"class_names": class_names, "shape": shape, "draws": draws, "program": program},
    ).encode()
    if len(page) > MAX_BYTES:
        return said(
            "The page would be {megabytes:.0f} MB, and {most} MB is the most: use the files.",
            megabytes=len(page) / 1e6,
            most=MAX_BYTES // 10**6,
        )
    return page


def to_program(graph: bytes) -> dict[str, Any]:
    """An ONNX file as plain JSON for the page's interpreter: {nodes: [...], tensors: {name: {type, shape, data}}}.

    Its data is base64 of little-endian numbers. Raises ExportError where the interpreter does not know an operation.
    """
    import onnx

    model = onnx.load_from_string(graph).graph
    nodes = []
    for node in model.node:
        attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        known = _ATTRIBUTES.get(node.op_type)
        handed: dict[str, Any] = {}
        for name, value in attributes.items():
            allowed = () if known is None else known.get(name, ())
            if allowed is not None and value not in allowed:
                known = None
            elif allowed is None:
                handed[name] = value
        if known is None:
            raise ExportError(
                said(
                    "The page's interpreter has no {operation} as this architecture uses it; it knows the mlp and the"
                    " cnn: use the ONNX file with onnxruntime-web.",
                    operation=node.op_type,
                )
            )
        nodes.append({"op": node.op_type, "inputs": list(node.input), "output": node.output[0], **handed})
    tensors = {}
    for item in model.initializer:
        numbers = onnx.numpy_helper.to_array(item)
        if numbers.dtype.name not in _TYPES:
            raise ExportError(
                said("The page's interpreter has no {kind} numbers: use the ONNX file.", kind=numbers.dtype.name)
            )
        if numbers.dtype.name == "int64":
            numbers = numbers.astype("int32")  # shapes; JavaScript's 64-bit integers are another type
        little = numbers.astype(numbers.dtype.newbyteorder("<"))
        tensors[item.name] = {
            "type": numbers.dtype.name,
            "shape": list(numbers.shape),
            "data": base64.b64encode(little.tobytes()).decode(),
        }
    return {"nodes": nodes, "tensors": tensors}
