"""What an export has left on disk, and whether it still may be offered. Light: a page asks this on every rerun.

    runs/<id>/export/   model.safetensors config.json README.md    weights, what they are, and a model card
                        model.onnx model_int8.onnx model.pt2       graphs that take pixels of 0..255
                        checks.json                                what each did on the test set when loaded again

checks.json is written last and holds the checksums of the others, so that no half or changed export is ever offered.
"""

import json
from functools import lru_cache
from typing import Any

from kd_core.base import files
from kd_core.base.config import LabError
from kd_core.base.files import AnyPath, is_file, read_text, state_of
from kd_core.runs.run import RunFolder

WEIGHTS, ONNX, ONNX_INT8, PROGRAM = "model.safetensors", "model.onnx", "model_int8.onnx", "model.pt2"
MODEL_FILES = (WEIGHTS, ONNX, ONNX_INT8, PROGRAM)
CONFIG, CARD, CHECKS = "config.json", "README.md", "checks.json"


class ExportError(LabError):
    """A run that cannot be exported, or an export that is not there; one sentence says why and what to do."""


def read_checks(folder: RunFolder) -> dict[str, Any] | None:
    """The content of checks.json as write.export_run returned it, or None where there is no whole export.

    None too where a file was changed, added in a refused one's place or lost, or where the run's weights are others by
    now: export again.
    """
    try:
        checks: dict[str, Any] = json.loads(read_text(folder.export / CHECKS))
        if checks["weights_sha256"] != sha256(folder.weights):
            return None
        for name, written in checks["texts"].items():
            if sha256(folder.export / name) != written:
                return None
        for file in checks["files"]:
            path = folder.export / file["name"]
            if sha256(path) != file["sha256"] if file["passed"] else is_file(path):
                return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return checks


def for_runtime(folder: RunFolder) -> dict[str, AnyPath]:
    """The files of a whole export that ONNX Runtime can run, by the names that kd_core.evaluation.speed has for it."""
    checks = read_checks(folder)
    if checks is None:
        return {}
    names = {"onnx": ONNX, "onnx_int8": ONNX_INT8}
    return {runtime: folder.export / name for runtime, name in names.items() if file_checks(checks, name)["passed"]}


def download_name(run_id: str, name: str) -> str:
    """What an exported file of this name is called in its user's downloads, where those of several runs may lie."""
    return f"{run_id}-{name}"


def as_downloaded(folder: RunFolder, name: str) -> bytes:
    """The content of an exported file; a card names the files beside it as they are downloaded. Raises OSError."""
    content = files.read_bytes(folder.export / name)
    if name == CARD:
        for other in (WEIGHTS, CONFIG):
            content = content.replace(f'"{other}"'.encode(), f'"{download_name(folder.run_id, other)}"'.encode())
    return content


def file_checks(checks: dict[str, Any], name: str) -> dict[str, Any]:
    """What the checks say of one of MODEL_FILES."""
    found: dict[str, Any] = next(file for file in checks["files"] if file["name"] == name)
    return found


def sha256(path: AnyPath) -> str:
    """Of a file's content, kept while its size and times stay. Raises OSError where it cannot be read."""
    return _sha256(path, state_of(path))


@lru_cache(maxsize=256)
def _sha256(path: AnyPath, state: str) -> str:
    return files.sha256(path)
