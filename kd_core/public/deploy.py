"""A student of anybody's as an ONNX file that has been tried, and the program that classifies a photograph by it."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from kd_core.base.config import LabError
from kd_core.base.files import AnyPath, write_atomic
from kd_core.evaluation.accuracy import Logits
from kd_core.exchange.export import checks, graphs, snippets, write
from kd_core.public.given import DataError, Given, Preprocess

PROGRAM = "classify.py"


class Prepared(nn.Module):
    """A network behind its preprocessing: what distill was given (N, …) -> logits (N, K)."""

    def __init__(self, model: nn.Module, preprocess: Preprocess | None) -> None:
        super().__init__()
        self.model, self.preprocess = model, preprocess

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images if self.preprocess is None else self.preprocess(images))
        return logits


def write_onnx(
    path: AnyPath, model: nn.Module, data: Given, original: Logits, notes: Mapping[str, str], *, classify: bool
) -> None:
    """Write a model as ONNX: "images" (N, …) in, float32 -> "logits" (N, K). Tried on the test set by ONNX Runtime.

    original: its logits of the test set. notes: for the file's metadata. classify: write PROGRAM beside it too. Raises
    LabError where the network cannot be traced, where the file does not say what the network says, or where a
    photograph cannot become what the network reads.
    """
    program_text = None
    if classify:
        images = _images_of(data)
        program_text = snippets.python_snippet(checks.ONNX, path.name, images)
        notes = {**notes, **images.metadata(normalised_inside=True)}
        del notes["normalisation"]  # whatever preprocess does is in the graph, and not known by its numbers
    example = data.test_images[:2].to(torch.float32)
    if not torch.allclose(data.normalise(data.test_images[:2]), data.normalise(example), atol=1e-3):
        raise DataError(
            "preprocess makes something else of whole numbers than of the same numbers as floats, which the file reads:"
            " bytes wrap around in images - 127, and not in images.float() - 127"
        )
    try:
        batch = {"images": {0: torch.export.Dim("N")}}
        with graphs.quiet():
            program = torch.export.export(Prepared(model, data.preprocess).eval(), (example,), dynamic_shapes=batch)
        graph = graphs.to_onnx(program)
    except Exception as error:  # of torch.export and of anybody's network
        raise LabError(
            f"this network cannot be written as ONNX: {str(error).splitlines()[0]}. torch.export says which line of it"
            " stands in the way"
        ) from error
    content = graphs.with_metadata(graph, notes)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "student.onnx"
        file.write_bytes(content)
        run = write.run_onnx(file)
        batches = data.test_images.to(torch.float32).split(write.BATCH)
        logits = np.concatenate([run(images.numpy()) for images in batches])
    verdict = write.judge(original, logits, data.test_labels.numpy(), rounded=False)
    if not verdict.passed:
        raise LabError(f"the ONNX file does not say what the network says, so it was not written: {verdict.sentence}")
    write_atomic(path, content)
    if program_text is not None:
        write_atomic(path.parent / PROGRAM, program_text.encode())


def _images_of(data: Given) -> snippets.Images:
    """What a photograph is made into. Raises DataError where the examples are no images of bytes."""
    shape = tuple(data.train_images.shape[1:])
    if data.train_images.dtype != torch.uint8 or len(shape) != 3 or shape[0] not in (1, 3):
        raise DataError(
            f"{PROGRAM} makes a photograph into bytes, (C, H, W) in grey or colour: train on uint8 images, and"
            " normalise them in preprocess"
        )
    return snippets.Images(shape, data.class_names, 0.0, 1.0, digits=False)
