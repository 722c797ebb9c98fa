"""A trained model taken away: weights, ONNX in float32 and int8, a torch.export program; each proven on the test set.

The graphs take float32 pixels of 0..255, (N, C, H, W) for any N, and normalise them inside, so that nobody who deploys
one can forget to. Class names, normalisation and how a picture becomes an image travel inside every file
(snippets.Images.metadata). Each file is loaded again from disk by the program that will run it, and shown the whole
test set; one that does not say what the original says is removed, and checks.json tells why.

int8 is static (QDQ: activations uint8, weights int8, a scale for each output channel), its ranges taken over
CALIBRATION_IMAGES training images. Dynamic quantisation measures the activations of each call instead, which needs no
images, but ONNX Runtime has it for matrix products alone to good effect: its convolutions in int8 are slower than in
float32. Weights take seven bits of the eight (reduce_range): products of uint8 and int8 saturate on processors without
VNNI instructions, and the accuracy measured here has to hold on whatever machine the file goes to. The logits stay in
float32: on a grid of 256 values, classes would tie.
"""

import io
import json
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from kd_core.base import tensors
from kd_core.base.files import AnyPath, disk_problem, on_this_machine, remove, stat, write_atomic
from kd_core.base.templates import said
from kd_core.data import load as data_load
from kd_core.data.dataset import Dataset
from kd_core.data.download import Progress
from kd_core.evaluation import speed
from kd_core.evaluation.accuracy import test_errors
from kd_core.exchange.export import checks as export_checks
from kd_core.exchange.export.checks import INT8_LOSS, Checks, ExportError, FileCheck, Verdict, sentence_of
from kd_core.exchange.export.snippets import Images
from kd_core.exchange.model_card import model_card
from kd_core.models import pixels as models_pixels
from kd_core.runs import artifacts
from kd_core.runs.run import Run, folder_of
from kd_core.training.config import RunConfig

OPSET = 18
"""The one that torch's exporter is written for; every ONNX Runtime since 1.14 (2023) reads it."""
TOLERANCE = 1e-4
"""By how much a float32 logit may differ from the original's, per 100 of the largest logit where that is above 100."""
METADATA = "kd-lab.json"
"""The extra file of a torch.export program: what ONNX and safetensors hold as metadata."""
CALIBRATION_IMAGES = 500
BATCH = 250

Logits = NDArray[np.float32]
Runner = Callable[[NDArray[np.float32]], Logits]
"""Pixels of 0..255, (N, C, H, W) -> logits (N, K)."""


class FromPixels(nn.Module):
    """A model that normalises what it is shown: float32 pixels of 0..255 (N, C, H, W) -> logits (N, K)."""

    def __init__(self, model: nn.Module, mean: float, std: float) -> None:
        """mean, std: Dataset.mean and Dataset.std."""
        super().__init__()
        self.model, self.mean, self.std = model, mean, std

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model((images - 255 * self.mean) / (255 * self.std))
        return logits


def export_run(storage: AnyPath, run: Run, progress: Progress | None = None) -> Checks:
    """Write a run's model into its export folder, check every file on the test set, and return what checks.json holds.

    progress hears what is being done, with the share done, 0 to 1; it may raise to cancel. Raises ExportError where the
    run left no weights or its numbers overflow; SaveError and DatasetError for files.
    """
    if not run.usable:
        raise ExportError(
            said(
                "{run} is {status} and left no weights to export: let it finish, or run it again.",
                run=run.label,
                status=said(run.status),
            )
        )
    if run.config.model.opaque:
        raise ExportError(said("{run} is a black box: its own file is all there is of it to take away.", run=run.label))
    tell = progress or (lambda text, share: None)
    tell("Loading the data set", 0.0)
    dataset = data_load.load(run.config.dataset, storage=storage)
    folder = folder_of(storage, run.id)
    remove(folder.export / export_checks.CHECKS)
    model = artifacts.load_model(folder, dataset)
    weights_sha256 = export_checks.sha256(folder.weights)
    tell("Asking the original", 0.05)
    with torch.inference_mode():  # in torch's plain float32, not build.logits_of's quick one
        batches = [model(dataset.normalise(batch)).numpy() for batch in dataset.test_images.split(BATCH)]
    original = np.concatenate(batches)
    if not np.isfinite(original).all():
        raise ExportError(
            said("{run} diverged: its logits are not numbers, so there is nothing to take away.", run=run.label)
        )

    config = run.config.model_dump_json(indent=2)
    texts = {export_checks.CONFIG: config, export_checks.CARD: _card(run, model, dataset)}
    for name, text in texts.items():
        write_atomic(folder.export / name, text.encode())
    tell("Tracing the model", 0.2)
    forms = _forms(run.config, model, dataset)
    files = []
    for done, (name, (write, load)) in enumerate(forms.items()):
        tell(f"Writing {name} and trying it on {len(original):,} test images", 0.3 + 0.7 * done / len(forms))
        files.append(_write_and_check(folder.export / name, write, load, dataset, original))
    checks = Checks(
        files=tuple(files),
        texts={name: export_checks.sha256(folder.export / name) for name in texts},
        weights_sha256=weights_sha256,
        versions={
            "torch": str(torch.__version__),
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
            "opset": OPSET,
        },
        processor=speed.processor(),
        threads=torch.get_num_threads(),
    )
    write_atomic(folder.export / export_checks.CHECKS, checks.model_dump_json(indent=2).encode())
    tell("Done", 1.0)
    return checks


def _forms(
    config: RunConfig, model: nn.Module, dataset: Dataset
) -> dict[str, tuple[Callable[[AnyPath], None], Callable[[Path], Runner]]]:
    """Name of each exported file -> how it is written, and how it is loaded to be run."""
    program = trace(model, dataset)
    graph = to_onnx(program)
    images = Images.of(config.dataset, dataset.class_names, dataset.mean, dataset.std)
    inside, outside = (images.metadata(normalised_inside=within) for within in (True, False))
    header = {"format": "pt", "config": config.model_dump_json(), **outside}
    return {
        export_checks.WEIGHTS: (
            lambda path: tensors.save_tensors(path, model.state_dict(), header),
            lambda path: _run_weights(path, config, dataset),
        ),
        export_checks.ONNX: (lambda path: write_atomic(path, with_metadata(graph, inside)), run_onnx),
        export_checks.ONNX_INT8: (
            lambda path: write_atomic(path, with_metadata(to_int8(graph, dataset), inside)),
            run_onnx,
        ),
        export_checks.PROGRAM: (lambda path: write_atomic(path, _program_bytes(program, inside)), run_program),
    }


# ------------------------------------------------------------------------------------------------------- checking


def _write_and_check(
    path: AnyPath, write: Callable[[AnyPath], None], load: Callable[[Path], Runner], dataset: Dataset, original: Logits
) -> FileCheck:
    """Write a file and check it; remove it again where it failed."""
    start = time.perf_counter()
    write(path)
    size_bytes, checksum = stat(path).st_size, export_checks.sha256(path)
    with on_this_machine(path) as file:
        run = load(file)
    logits = np.concatenate([run(batch.to(torch.float32).numpy()) for batch in dataset.test_images.split(BATCH)])
    verdict = judge(original, logits, dataset.test_labels.numpy(), int8=path.name == export_checks.ONNX_INT8)
    if not verdict.passed:
        remove(path)
    seconds = time.perf_counter() - start
    return FileCheck(name=path.name, size_bytes=size_bytes, sha256=checksum, seconds=seconds, **verdict.model_dump())


def judge(original: Logits, logits: Logits, labels: NDArray[np.int64], *, int8: bool) -> Verdict:
    """Whether an exported file may be handed out, by its logits and the original's of the test set, (N, K) each.

    float32 has to give every image the same class, and no logit further off than TOLERANCE; int8 may lose INT8_LOSS.
    """
    difference = float(np.abs(logits.astype(np.float64) - original).max())
    changed = int((logits.argmax(axis=1) != original.argmax(axis=1)).sum())
    errors, before, examples = test_errors(logits, labels), test_errors(original, labels), len(labels)
    if not np.isfinite(difference):
        difference, passed = -1.0, False
    elif int8:
        passed = errors - before <= max(1, int(INT8_LOSS * examples))
    else:
        passed = changed == 0 and difference < TOLERANCE * max(1.0, float(np.abs(original).max()) / 100)
    sentence = sentence_of(
        max_logit_difference=difference,
        changed=changed,
        errors=errors,
        before=before,
        examples=examples,
        passed=passed,
        int8=int8,
    )
    return Verdict(
        max_logit_difference=difference,
        classes_changed=changed,
        test_errors=errors,
        original_test_errors=before,
        test_examples=examples,
        passed=bool(passed),
        sentence=sentence,
    )


def _run_weights(path: Path, config: RunConfig, dataset: Dataset) -> Runner:
    state, classes = tensors.load_tensors(path), len(dataset.class_names)
    model = models_pixels.build(
        config.model, config.brought, state, dataset.image_shape, classes, mean=dataset.mean, std=dataset.std
    )
    return _in_torch(FromPixels(model, dataset.mean, dataset.std).eval())


def run_program(path: Path) -> Runner:
    """A torch.export program, loaded from its file."""
    with quiet():
        return _in_torch(torch.export.load(path).module())


def _in_torch(model: nn.Module) -> Runner:
    def run(images: NDArray[np.float32]) -> Logits:
        with torch.inference_mode():
            logits: Logits = model(torch.from_numpy(images)).numpy()
        return logits

    return run


def run_onnx(path: Path) -> Runner:
    """An ONNX file in ONNX Runtime on the CPU, with as many threads as torch has."""
    return speed.onnx_session(path, torch.get_num_threads())


# -------------------------------------------------------------------------------------------------------- writing


def trace(model: nn.Module, dataset: Dataset) -> torch.export.ExportedProgram:
    """The model as a graph from pixels to logits, for any number of images."""
    pixels = torch.zeros(2, *dataset.image_shape)
    with quiet():
        batch = {"images": {0: torch.export.Dim("N")}}
        return torch.export.export(FromPixels(model, dataset.mean, dataset.std).eval(), (pixels,), dynamic_shapes=batch)


def _program_bytes(program: torch.export.ExportedProgram, metadata: Mapping[str, str]) -> bytes:
    """The program as a file, its metadata as the extra file METADATA."""
    buffer = io.BytesIO()
    with quiet():
        torch.export.save(program, buffer, extra_files={METADATA: json.dumps(metadata)})
    return buffer.getvalue()


def with_metadata(graph: bytes, metadata: Mapping[str, str]) -> bytes:
    """An ONNX file with these metadata_props."""
    made = onnx.load_from_string(graph)
    onnx.helper.set_model_props(made, dict(metadata))
    content: bytes = made.SerializeToString()
    return content


def to_onnx(program: torch.export.ExportedProgram) -> bytes:
    """The graph as ONNX in float32: input "images", output "logits"."""
    with quiet():
        made = torch.onnx.export(
            program, input_names=["images"], output_names=["logits"], opset_version=OPSET, verbose=False
        )
    assert made is not None  # noqa: S101  only a path as its second argument makes it so
    return _tidy(made.model_proto)


def to_int8(graph: bytes, dataset: Dataset) -> bytes:
    """The ONNX graph in int8, its ranges calibrated on training images spread evenly over the training set."""
    step = max(1, len(dataset.train_images) // CALIBRATION_IMAGES)
    images = dataset.train_images[::step][:CALIBRATION_IMAGES].to(torch.float32)
    with tempfile.TemporaryDirectory() as name, quiet():
        source, prepared, target = (Path(name) / file for file in ("source.onnx", "prepared.onnx", "target.onnx"))
        try:
            source.write_bytes(graph)
            quant_pre_process(source, prepared, skip_symbolic_shape=True)
            quantization.quantize_static(
                prepared,
                target,
                _Calibration(images),
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
    """Images (N, C, H, W) float32 in batches, as the quantiser asks for them."""

    def __init__(self, images: Tensor) -> None:
        self.batches: Iterator[Tensor] = iter(images.split(100))

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
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    used = {node.domain for node in graph.node}
    kept = [entry for entry in made.opset_import if entry.domain in used]
    del made.opset_import[:]
    made.opset_import.extend(kept)
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


def _card(run: Run, model: nn.Module, dataset: Dataset) -> str:
    return model_card(
        run,
        image_shape=dataset.image_shape,
        class_names=dataset.class_names,
        mean=dataset.mean,
        std=dataset.std,
        layers=str(model),
        weights=export_checks.WEIGHTS,
    )
