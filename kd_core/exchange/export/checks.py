"""What an export has left on disk, and whether it still may be offered. Light: a page asks this on every rerun.

    runs/<id>/export/   model.safetensors config.json README.md    weights, what they are, and a model card
                        model.onnx model_int8.onnx model.pt2       graphs that take pixels of 0..255
                        checks.json                                what each did on the test set when loaded again

checks.json is written last and holds the checksums of the others, so that no half or changed export is ever offered.
"""

from functools import lru_cache

from pydantic import Field

from kd_core.base import files
from kd_core.base.config import Config, LabError
from kd_core.base.files import AnyPath, is_file, read_text, state_of
from kd_core.base.templates import Said, said
from kd_core.runs.run import RunFolder

WEIGHTS, ONNX, ONNX_INT8, PROGRAM = "model.safetensors", "model.onnx", "model_int8.onnx", "model.pt2"
MODEL_FILES = (WEIGHTS, ONNX, ONNX_INT8, PROGRAM)
CONFIG, CARD, CHECKS = "config.json", "README.md", "checks.json"
INT8_LOSS = 0.002
"""Share of the test images that int8 may get wrong on top; one image is always allowed (digits has but 445)."""


class ExportError(LabError):
    """A run that cannot be exported, or an export that is not there; one sentence says why and what to do."""


class Verdict(Config):
    """What an exported file did on the test set beside the original, and whether it may be handed out."""

    max_logit_difference: float = Field(description="-1 where a logit is no number")
    classes_changed: int
    test_errors: int
    original_test_errors: int
    test_examples: int
    passed: bool
    sentence: str


class FileCheck(Verdict):
    """One of MODEL_FILES and its verdict. A file that did not pass is not in the folder."""

    name: str
    size_bytes: int
    sha256: str
    seconds: float = Field(description="to write and to check it")

    @property
    def in_words(self) -> Said:
        """Its sentence, which a page can say in another language."""
        return sentence_of(
            max_logit_difference=self.max_logit_difference,
            changed=self.classes_changed,
            errors=self.test_errors,
            before=self.original_test_errors,
            examples=self.test_examples,
            passed=self.passed,
            int8=self.name == ONNX_INT8,
        )


def sentence_of(
    *, max_logit_difference: float, changed: int, errors: int, before: int, examples: int, passed: bool, int8: bool
) -> Said:
    """A verdict in words. before: the test errors of the original."""
    if max_logit_difference < 0:
        return said("Refused: it gives logits that are not numbers.")
    counts = {"errors": errors, "before": before, "examples": examples, "changed": changed}
    if int8:
        points = 100 * abs(errors - before) / examples
        if errors > before:
            result = said(
                "{errors:,} test errors of {examples:,} where the original makes {before:,}: {points:.2f} points lost",
                **counts,
                points=points,
            )
        elif errors < before:
            result = said(
                "{errors:,} test errors of {examples:,} where the original makes {before:,}: {points:.2f} points won",
                **counts,
                points=points,
            )
        else:
            result = said("{errors:,} test errors of {examples:,}, as many as the original", **counts)
        if passed:
            return said("{result}.", result=result)
        most = 100 * INT8_LOSS
        return said("Refused: {result}, and {most:g} is the most that int8 may lose.", result=result, most=most)
    if passed:
        return said(
            "All {examples:,} test images get the original's class; largest difference of a logit {difference:.1e}.",
            **counts,
            difference=max_logit_difference,
        )
    return said(
        "Refused: {changed:,} of {examples:,} test images get another class; largest difference of a logit"
        " {difference:.1e}.",
        **counts,
        difference=max_logit_difference,
    )


class Checks(Config):
    """The content of checks.json."""

    files: tuple[FileCheck, ...]
    texts: dict[str, str] = Field(description="SHA-256 of the other files, by name")
    weights_sha256: str = Field(description="of the run's own weights")
    versions: dict[str, str | int]
    processor: str
    threads: int

    def file(self, name: str) -> FileCheck:
        """The check of one of MODEL_FILES."""
        return next(file for file in self.files if file.name == name)

    @property
    def passed(self) -> list[str]:
        """The names of the files that may be handed out."""
        return [file.name for file in self.files if file.passed]


def read_checks(folder: RunFolder) -> Checks | None:
    """The checks that write.export_run returned, or None where there is no whole export.

    None too where a file was changed, added in a refused one's place or lost, or where the run's weights are others by
    now: export again.
    """
    try:
        checks = Checks.from_json(read_text(folder.export / CHECKS))
        written = {folder.export / name: checksum for name, checksum in checks.texts.items()}
        written |= {folder.export / file.name: file.sha256 for file in checks.files if file.passed}
        written[folder.weights] = checks.weights_sha256
        if any(sha256(path) != checksum for path, checksum in written.items()):
            return None
        if any(is_file(folder.export / file.name) for file in checks.files if not file.passed):
            return None
    except (OSError, ValueError):
        return None
    return checks


def for_runtime(folder: RunFolder) -> dict[str, AnyPath]:
    """The files of a whole export that ONNX Runtime can run, by the names that kd_core.evaluation.speed has for it."""
    checks = read_checks(folder)
    names = {"onnx": ONNX, "onnx_int8": ONNX_INT8}
    return {
        runtime: folder.export / name
        for runtime, name in names.items()
        if checks is not None and checks.file(name).passed
    }


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


def sha256(path: AnyPath) -> str:
    """Of a file's content, kept while its size and times stay. Raises OSError where it cannot be read."""
    return _sha256(path, state_of(path))


@lru_cache(maxsize=256)
def _sha256(path: AnyPath, state: str) -> str:
    return files.sha256(path)
