"""What an export has left on disk, and whether it still may be offered. Light: a page asks this on every rerun.

    runs/<id>/export/   model.safetensors config.json README.md    weights, what they are, and a model card
                        model.onnx model_fp16.onnx model_int8.onnx model.pt2
                                                                   graphs that take pixels of 0..255
                        options.json                               how a visitor wants them written
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

WEIGHTS, ONNX, ONNX_FP16, ONNX_INT8 = "model.safetensors", "model.onnx", "model_fp16.onnx", "model_int8.onnx"
PROGRAM = "model.pt2"
MODEL_FILES = (WEIGHTS, ONNX, ONNX_FP16, ONNX_INT8, PROGRAM)
ROUNDED = (ONNX_FP16, ONNX_INT8)
"""Those that may differ from the original, as far as Options.tolerance and chance allow."""
CONFIG, CARD, CHECKS, OPTIONS = "config.json", "README.md", "checks.json", "options.json"
OPSETS = (18, 23)
"""Least and greatest: torch's exporter is written for the first, which every ONNX Runtime since 1.14 (2023) reads."""


MOST_AT_ONCE = 1024
"""Images of a graph that takes a fixed number."""


class ExportError(LabError):
    """A run that cannot be exported, or an export that is not there; one sentence says why and what to do."""


class Options(Config):
    """How the files of an export are written and judged."""

    opset: int = Field(OPSETS[0], ge=OPSETS[0], le=OPSETS[1], description="ONNX operator set")
    batch: int | None = Field(
        None,
        ge=1,
        le=MOST_AT_ONCE,
        description="images that a graph takes at once, always so many; by default any number",
    )
    tolerance: float = Field(
        0.002, ge=0, le=0.5, description="share of the test images that float16 and int8 may get wrong on top"
    )


class Verdict(Config):
    """What an exported file did on the test set beside the original, and whether it may be handed out.

    withheld: a rounded file that is worse by more than the tolerance and by more than chance: it is in the folder, for
    who wants it anyway. p_value: of McNemar's exact test against what it is judged by; None of files that are not
    rounded, and of those written before December 2026.
    An int8 file of a run that went on int8-aware is judged by the float32 weights of the run that it continues, where
    that is there: its own may have lost already.
    """

    max_logit_difference: float = Field(description="-1 where a logit is no number")
    classes_changed: int
    test_errors: int
    original_test_errors: int
    test_examples: int
    passed: bool
    sentence: str
    withheld: bool = False
    p_value: float | None = None
    differing: int = Field(0, description="images that only one of both gets wrong")
    tolerance: float = Options().tolerance
    continued_test_errors: int | None = Field(None, description="of the run that it goes on from and is judged by")
    continued_is_gone: bool = Field(False, description="so that it is judged by its own float32 weights")

    @property
    def judged_by(self) -> int:
        """Test errors in float32 of what it is judged by."""
        return self.original_test_errors if self.continued_test_errors is None else self.continued_test_errors

    @property
    def beyond(self) -> bool:
        """Whether it loses more than the tolerance."""
        return self.test_errors - self.judged_by > self.tolerance * self.test_examples

    @property
    def continues(self) -> bool:
        """Whether it is of a run that went on int8-aware from another one, there or gone."""
        return self.continued_test_errors is not None or self.continued_is_gone


class FileCheck(Verdict):
    """One of MODEL_FILES and its verdict. A file that neither passed nor is withheld is not in the folder."""

    name: str
    size_bytes: int
    sha256: str
    seconds: float = Field(description="to write and to check it")

    @property
    def kept(self) -> bool:
        """Whether it is in the folder."""
        return self.passed or self.withheld

    @property
    def in_words(self) -> Said:
        """Its sentence, which a page can say in another language."""
        return sentence_of(self, rounded=self.name in ROUNDED)


def sentence_of(verdict: Verdict, *, rounded: bool) -> Said:
    """A verdict in words. rounded: of one of ROUNDED."""
    if verdict.max_logit_difference < 0:
        return said("Refused: it gives logits that are not numbers.")
    counts = {"examples": verdict.test_examples, "changed": verdict.classes_changed}
    if rounded and verdict.continues:
        return said("{verdict} {beside}", verdict=_of_rounded(verdict), beside=_beside(verdict))
    if rounded:
        return _of_rounded(verdict)
    if verdict.passed:
        return said(
            "All {examples:,} test images get the original's class; largest difference of a logit {difference:.1e}.",
            **counts,
            difference=verdict.max_logit_difference,
        )
    return said(
        "Refused: {changed:,} of {examples:,} test images get another class; largest difference of a logit"
        " {difference:.1e}.",
        **counts,
        difference=verdict.max_logit_difference,
    )


def _beside(verdict: Verdict) -> Said:
    """What a file of a run that goes on from another one is to be seen beside."""
    if verdict.continued_is_gone:
        return said("The run that it continues is gone: it was judged by its own float32 weights.")
    return said("The float32 weights of this run itself make {errors:,}.", errors=verdict.original_test_errors)


def _of_rounded(verdict: Verdict) -> Said:
    errors, before, examples = verdict.test_errors, verdict.judged_by, verdict.test_examples
    points = 100 * abs(errors - before) / examples
    original = said("the original")
    if verdict.continued_test_errors is not None:
        original = said("the run that it continues")
    counts = {"errors": errors, "before": before, "examples": examples, "original": original}
    if errors > before:
        result = said(
            "{errors:,} test errors of {examples:,} where {original} makes {before:,}: {points:.2f} points lost",
            **counts,
            points=points,
        )
    elif errors < before:
        result = said(
            "{errors:,} test errors of {examples:,} where {original} makes {before:,}: {points:.2f} points won",
            **counts,
            points=points,
        )
    else:
        result = said("{errors:,} test errors of {examples:,}, as many as {original}", **counts)
    if not verdict.beyond:
        return said("{result}.", result=result)
    most = 100 * verdict.tolerance
    if verdict.p_value is None:  # as it was judged then
        if verdict.passed:
            return said("{result}.", result=result)
        return said("Refused: {result}, and {most:g} is the most that int8 may lose.", result=result, most=most)
    facts = {"result": result, "most": most, "differing": verdict.differing, "p": f"{verdict.p_value:.2g}"}
    if verdict.passed:
        return said(
            "{result}, where {most:g} is tolerated. That can be chance: p = {p} by McNemar's exact test on the images"
            " that only one of the two gets wrong ({differing:,}).",
            **facts,
        )
    return said(
        "{result}, where {most:g} is tolerated. That is more than chance: p = {p} by McNemar's exact test on the images"
        " that only one of the two gets wrong ({differing:,}).",
        **facts,
    )


class Checks(Config):
    """The content of checks.json."""

    files: tuple[FileCheck, ...]
    texts: dict[str, str] = Field(description="SHA-256 of the other files, by name")
    weights_sha256: str = Field(description="of the run's own weights")
    versions: dict[str, str | int]
    processor: str
    threads: int
    options: Options = Options()

    def file(self, name: str) -> FileCheck:
        """The check of one of MODEL_FILES."""
        return next(file for file in self.files if file.name == name)

    @property
    def passed(self) -> list[str]:
        """The names of the files that may be handed out."""
        return [file.name for file in self.files if file.passed]

    @property
    def withheld(self) -> list[str]:
        """The names of the files that may be handed out with a warning, to who wants them anyway."""
        return [file.name for file in self.files if file.withheld]


def read_checks(folder: RunFolder) -> Checks | None:
    """The checks that write.export_run returned, or None where there is no whole export.

    None too where a file was changed, added in a refused one's place or lost, or where the run's weights are others by
    now: export again.
    """
    try:
        checks = Checks.from_json(read_text(folder.export / CHECKS))
        written = {folder.export / name: checksum for name, checksum in checks.texts.items()}
        written |= {folder.export / file.name: file.sha256 for file in checks.files if file.kept}
        written[folder.weights] = checks.weights_sha256
        if any(sha256(path) != checksum for path, checksum in written.items()):
            return None
        if any(is_file(folder.export / file.name) for file in checks.files if not file.kept):
            return None
    except (OSError, ValueError):
        return None
    return checks


def wanted(folder: RunFolder) -> Options:
    """How a visitor wants the files of a run written: the defaults, unless write_anew was called."""
    try:
        return Options.from_json(read_text(folder.export / OPTIONS))
    except (OSError, ValueError):
        return Options()


def write_anew(folder: RunFolder, options: Options) -> None:
    """Have a run's files written again, with these options, where an export is next asked for. Raises SaveError."""
    files.write_atomic(folder.export / OPTIONS, options.model_dump_json().encode())
    files.remove(folder.export / CHECKS)


def for_runtime(folder: RunFolder) -> dict[str, AnyPath]:
    """The files of a whole export that ONNX Runtime can run, by the names that kd_core.evaluation.speed has for it.

    None that takes a fixed number of images: speed is measured at several.
    """
    checks = read_checks(folder)
    if checks is not None and checks.options.batch is not None:
        return {}
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
