"""A trained model taken away: weights, ONNX in three precisions, a torch.export program; each proven on the test set.

The graphs take float32 pixels of 0..255, (N, C, H, W) for any N or a fixed one, and normalise them inside, so that
nobody who deploys one can forget to. Class names, normalisation and how a picture becomes an image travel inside every
file (snippets.Images.metadata). Each file is loaded again from disk by the program that will run it, and shown the
whole test set; one that does not say what the original says is removed, and checks.json tells why.
"""

import io
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kd_core.base import tensors
from kd_core.base.files import AnyPath, SaveError, on_this_machine, remove, stat, write_atomic
from kd_core.base.templates import said
from kd_core.data import load as data_load
from kd_core.data.dataset import Dataset
from kd_core.data.download import Progress
from kd_core.evaluation import speed
from kd_core.evaluation.accuracy import test_errors
from kd_core.evaluation.statistics import mcnemar
from kd_core.exchange.export import checks as export_checks
from kd_core.exchange.export.checks import ROUNDED, Checks, ExportError, FileCheck, Options, Verdict, sentence_of
from kd_core.exchange.export.graphs import quiet, to_float16, to_int8, to_onnx, with_metadata
from kd_core.exchange.export.snippets import Images
from kd_core.exchange.model_card import model_card
from kd_core.models import pixels as models_pixels
from kd_core.runs import artifacts
from kd_core.runs.run import Run, folder_of
from kd_core.training.config import RunConfig

TOLERANCE = 1e-4
"""By how much a float32 logit may differ from the original's, as a share of the largest logit where that is above 1."""
METADATA = "kd-lab.json"
"""The extra file of a torch.export program: what ONNX and safetensors hold as metadata."""
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


def export_run(storage: AnyPath, run: Run, progress: Progress | None = None, options: Options | None = None) -> Checks:
    """Write a run's model into its export folder, check every file on the test set, and return what checks.json holds.

    options: by default those that a visitor wants. progress hears what is being done, with the share done, 0 to 1; it
    may raise to cancel. Raises ExportError where the run left no weights or its numbers overflow; SaveError and
    DatasetError for files.
    """
    _check_exportable(run)
    tell = progress or (lambda text, share: None)
    tell("Loading the data set", 0.0)
    dataset = data_load.load(run.config.dataset, storage=storage)
    folder = folder_of(storage, run.id)
    options = options or export_checks.wanted(folder)
    remove(folder.export / export_checks.CHECKS)
    model = artifacts.load_model(folder, dataset)
    weights_sha256 = export_checks.sha256(folder.weights)
    tell("Asking the original", 0.05)
    original = _original_logits(run, model, dataset)
    try:
        continued = artifacts.test_logits_before_int8(folder)
        beside = {"continued": continued, "continued_is_gone": False}
    except SaveError:
        beside = {"continued": None, "continued_is_gone": True}
    tell("Tracing the model", 0.2)
    forms = _forms(run.config, model, dataset, options)
    files = []
    for done, (name, (write, load)) in enumerate(forms.items()):
        tell(f"Writing {name} and trying it on {len(original):,} test images", 0.3 + 0.7 * done / len(forms))
        judged = beside if name == export_checks.ONNX_INT8 else {}
        files.append(_write_and_check(folder.export / name, write, load, dataset, original, options, **judged))
    config = run.config.model_dump_json(indent=2)
    texts = {export_checks.CONFIG: config, export_checks.CARD: _card(run, model, dataset, files)}
    for name, text in texts.items():
        write_atomic(folder.export / name, text.encode())
    checks = Checks(
        files=tuple(files),
        texts={name: export_checks.sha256(folder.export / name) for name in texts},
        weights_sha256=weights_sha256,
        versions={
            "torch": str(torch.__version__),
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
            "opset": options.opset,
        },
        processor=speed.processor(),
        threads=torch.get_num_threads(),
        options=options,
    )
    write_atomic(folder.export / export_checks.CHECKS, checks.model_dump_json(indent=2).encode())
    tell("Done", 1.0)
    return checks


def _check_exportable(run: Run) -> None:
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


def _original_logits(run: Run, model: nn.Module, dataset: Dataset) -> Logits:
    """Logits of the test set by the model itself, in torch's plain float32, not build.logits_of's quick one."""
    with torch.inference_mode():
        batches = [model(dataset.normalise(batch)).numpy() for batch in dataset.test_images.split(BATCH)]
    original: Logits = np.concatenate(batches)
    if not np.isfinite(original).all():
        raise ExportError(
            said("{run} diverged: its logits are not numbers, so there is nothing to take away.", run=run.label)
        )
    return original


def _forms(
    config: RunConfig, model: nn.Module, dataset: Dataset, options: Options
) -> dict[str, tuple[Callable[[AnyPath], None], Callable[[Path], Runner]]]:
    """Name of each exported file -> how it is written, and how it is loaded to be run."""
    program = trace(model, dataset, options.batch)
    graph = to_onnx(program, options.opset)
    images = Images.of(config.dataset, dataset.class_names, dataset.mean, dataset.std)
    inside, outside = (images.metadata(normalised_inside=within) for within in (True, False))
    header = {"format": "pt", "config": config.model_dump_json(), **outside}

    def as_onnx(made: Callable[[], bytes]) -> tuple[Callable[[AnyPath], None], Callable[[Path], Runner]]:
        return lambda path: write_atomic(path, with_metadata(made(), inside)), run_onnx

    return {
        export_checks.WEIGHTS: (
            lambda path: tensors.save_tensors(path, model.state_dict(), header),
            lambda path: _run_weights(path, config, dataset),
        ),
        export_checks.ONNX: as_onnx(lambda: graph),
        export_checks.ONNX_FP16: as_onnx(lambda: to_float16(graph)),
        export_checks.ONNX_INT8: as_onnx(lambda: to_int8(graph, dataset)),
        export_checks.PROGRAM: (lambda path: write_atomic(path, _program_bytes(program, inside)), run_program),
    }


# ------------------------------------------------------------------------------------------------------- checking


def _write_and_check(
    path: AnyPath,
    write: Callable[[AnyPath], None],
    load: Callable[[Path], Runner],
    dataset: Dataset,
    original: Logits,
    options: Options,
    **beside: Any,
) -> FileCheck:
    """Write a file and check it; remove it again where it may not be handed out. beside: as judge has it."""
    start = time.perf_counter()
    write(path)
    size_bytes, checksum = stat(path).st_size, export_checks.sha256(path)
    with on_this_machine(path) as file:
        run = load(file)
    logits = np.concatenate([*_answers(run, dataset.test_images, options.batch)])
    labels = dataset.test_labels.numpy()
    verdict = judge(original, logits, labels, rounded=path.name in ROUNDED, tolerance=options.tolerance, **beside)
    if not (verdict.passed or verdict.withheld):
        remove(path)
    seconds = time.perf_counter() - start
    return FileCheck(name=path.name, size_bytes=size_bytes, sha256=checksum, seconds=seconds, **verdict.model_dump())


def _answers(run: Runner, images: Tensor, batch: int | None) -> Iterator[Logits]:
    """The logits of images (N, C, H, W) uint8, batch by batch; a fixed batch is filled up with the last image."""
    for part in images.split(batch or BATCH):
        missing = (batch or len(part)) - len(part)
        whole = torch.cat([part, part[-1:].expand(missing, -1, -1, -1)])
        yield run(whole.to(torch.float32).numpy())[: len(part)]


def judge(
    original: Logits,
    logits: Logits,
    labels: NDArray[np.int64],
    *,
    rounded: bool,
    tolerance: float = Options().tolerance,
    continued: Logits | None = None,
    continued_is_gone: bool = False,
) -> Verdict:
    """Whether an exported file may be handed out, by its logits and the original's of the test set, (N, K) each.

    float32 has to give every image the same class, and no logit further off than TOLERANCE has it. What is rounded is
    withheld where it makes more errors than tolerance, a share of the images, and by McNemar's exact test than chance
    allows.
    continued: the logits of the run that this one goes on from int8-aware, by which it is judged then.
    """
    difference = float(np.abs(logits.astype(np.float64) - original).max())
    verdict = Verdict(
        max_logit_difference=difference if np.isfinite(difference) else -1.0,
        classes_changed=int((logits.argmax(axis=1) != original.argmax(axis=1)).sum()),
        test_errors=test_errors(logits, labels),
        original_test_errors=test_errors(original, labels),
        test_examples=len(labels),
        passed=False,
        sentence="",
        tolerance=tolerance,
        continued_test_errors=None if continued is None else test_errors(continued, labels),
        continued_is_gone=continued_is_gone,
    )
    if rounded and np.isfinite(difference):
        test = mcnemar(original if continued is None else continued, logits, labels)
        differing = test.only_first_wrong + test.only_second_wrong
        withheld = verdict.beyond and test.sign > 0
        verdict = verdict.replace(passed=not withheld, withheld=withheld, p_value=test.p_value, differing=differing)
    elif np.isfinite(difference):
        close = difference < TOLERANCE * max(1.0, float(np.abs(original).max()))
        verdict = verdict.replace(passed=close and verdict.classes_changed == 0)
    return verdict.replace(sentence=sentence_of(verdict, rounded=rounded))


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


def trace(model: nn.Module, dataset: Dataset, batch: int | None = None) -> torch.export.ExportedProgram:
    """The model as a graph from pixels to logits, for so many images at once; by default for any number."""
    pixels, whole = torch.zeros(batch or 2, *dataset.image_shape), FromPixels(model, dataset.mean, dataset.std).eval()
    free = None if batch else {"images": {0: torch.export.Dim("N")}}
    with quiet():
        return torch.export.export(whole, (pixels,), dynamic_shapes=free)


def _program_bytes(program: torch.export.ExportedProgram, metadata: Mapping[str, str]) -> bytes:
    """The program as a file, its metadata as the extra file METADATA."""
    buffer = io.BytesIO()
    with quiet():
        torch.export.save(program, buffer, extra_files={METADATA: json.dumps(metadata)})
    return buffer.getvalue()


def _card(run: Run, model: nn.Module, dataset: Dataset, files: Sequence[FileCheck]) -> str:
    return model_card(
        run,
        image_shape=dataset.image_shape,
        class_names=dataset.class_names,
        mean=dataset.mean,
        std=dataset.std,
        layers=str(model),
        weights=export_checks.WEIGHTS,
        files={file.name: file.sentence for file in files},
    )
