"""A file that holds somebody's trained teacher, read and tried before anything is kept of it.

A state dict (.pt, .pth) or safetensors of an architecture of ours or torchvision's, a torch.export program (.pt2), or
an ONNX file. What it is, its content says, not its name. Nothing in it is run but what kd_core.models.black_box lets;
pickles are read by torch.load(weights_only=True) alone. kd_core.exchange.teacher.trial does this in a process of its
own, with bounds.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kd_core.base.archive import Archive, DamagedError, FlawError
from kd_core.base.templates import said
from kd_core.data.dataset import Dataset
from kd_core.evaluation import accuracy
from kd_core.exchange.teacher.readings import Reading, Ways, of_columns
from kd_core.exchange.teacher.search import Chosen, Search, Tell
from kd_core.exchange.teacher.trial import OPTIONS, Ask, Outcome
from kd_core.exchange.teacher.weights import MAX_NAMES, TeacherError, joined
from kd_core.models import black_box
from kd_core.training.config import RunConfig, TrainingConfig

SAME = 1e-3
"""By how much, and by what share, what a teacher says of an image may change when it is asked again."""
GUESSES = 0.01
"""Above this chance of so many right answers by guessing alone, a teacher is taken to guess."""
NO_TRAINING = TrainingConfig(epochs=1, warmup_epochs=0)
"""What stands in the config of a run that was not trained here; its split is what validation errors are counted on."""
_QUESTIONS = {
    "weights": said("weights"), "output": said("output"), "activation": said("activation"),
    "norm_last": said("batch norm after activation"), "pool": said("pooling"), "first_stride": said("first stride"),
    "pixels": said("pixels"), "inverted": said("dark and light exchanged"),
}  # fmt: skip
"""trial.QUESTIONS within a sentence."""


def examine(content: bytes, ask: Ask, dataset: Dataset, tell: Tell) -> Outcome[dict[str, Tensor]]:
    """Read a file as fits training images best, and ask it of the whole test set. Raises LabError for no teacher."""
    tell(said("Reading the file"), 0.0)
    ways = Ways(content, kind_of(content), ask, dataset)
    chosen = Search(ways, tell).choose()
    reading, labels = chosen.reading, dataset.test_labels.numpy()
    _check_answers(lambda images: ways.logits(reading, images), dataset.test_images)
    logits = _test_logits(ways, reading, chosen.columns, tell)
    tried = {accuracy.test_errors(logits, labels): (reading, logits)}
    for other in chosen.others if ask.errors is not None else ():
        if ask.errors not in tried:
            others = _test_logits(ways, other, chosen.columns, tell)
            tried[accuracy.test_errors(others, labels)] = other, others
    if ask.errors in tried:
        reading, logits = tried[ask.errors]
    config, state, notes = _run(ways, reading, chosen.columns)
    errors = accuracy.test_errors(logits, labels)
    sentences = _guessing(errors, labels), _better(chosen), _order(chosen), _unknown(ask.errors, [*tried])
    warning = joined(filter(None, sentences), " ")
    if 2 * errors > len(labels) and not warning:
        notes += (
            said(
                "It gets {share:.1%} of the test images right, which is more than guessing would, and nothing that was"
                " tried explains most of its errors: it may simply be weak.",
                share=1 - errors / len(labels),
            ),
        )
    options = [(question.name, reading[question.name]) for question in chosen.questions]
    answers = [
        said("{question} {answer}", question=_QUESTIONS[name], answer=OPTIONS.get(option, option))
        for name, option in options
    ]
    notes += (said("What its file does not tell was tried: {answers}.", answers=joined(answers, "; ")),)
    return Outcome(config, state, notes, warning, errors, len(labels), chosen.questions)


def read(content: bytes, ask: Ask, dataset: Dataset) -> tuple[RunConfig, dict[str, Tensor], tuple[str, ...]]:
    """What a file is as usually meant: the config of its run, the state of its model, and what was done to it.

    Class count and input are checked. Raises LabError.
    """
    ways = Ways(content, kind_of(content), ask, dataset)
    return _run(ways, next(filter(ways.allows, ways.all())), None)


def _run(
    ways: Ways, reading: Reading, columns: Sequence[int] | None
) -> tuple[RunConfig, dict[str, Tensor], tuple[str, ...]]:
    made, external = ways.made(reading), ways.external(reading)
    state, notes = made.state, made.notes
    if columns is not None:
        external = external.replace(classes=tuple(columns))
        state = state if made.model.opaque else of_columns(state, columns)
        names = ", ".join(f"{name} {column}" for name, column in zip(ways.dataset.class_names, columns, strict=True))
        taken = said(
            "It knows {classes:,} classes, of which these were taken: {names}.", classes=made.classes, names=names[:400]
        )
        notes = (*notes, taken)
    config = RunConfig(
        role="teacher", dataset=ways.ask.dataset, model=made.model, training=NO_TRAINING, brought=external
    )
    return config, state, notes


def _test_logits(ways: Ways, reading: Reading, columns: Sequence[int] | None, tell: Tell) -> Any:
    """(N, K). Raises TeacherError where they are not all numbers."""
    images, answers = ways.dataset.test_images, []
    for part in images.split(black_box.BATCH):
        answers.append(ways.logits(reading, part))
        tell(said("Asking it of the test set"), sum(map(len, answers)) / len(images))
    logits = torch.cat(answers)
    odd = int((~logits.isfinite()).any(dim=1).sum())
    if odd:
        raise TeacherError(
            said(
                "What this file says of {odd:,} of {images:,} test images is not all numbers (NaN or infinite): it"
                " diverged, or its weights are damaged.",
                odd=odd,
                images=len(logits),
            )
        )
    return (logits if columns is None else logits[:, list(columns)]).numpy()


def kind_of(content: bytes) -> Any:
    """'weights', 'program' or 'onnx', by how a file begins. Raises TeacherError for one that is empty or too large."""
    if not content:
        raise TeacherError(said("This file is empty: choose the file that holds the trained teacher."))
    if len(content) > black_box.MAX_BYTES:
        most = black_box.MAX_BYTES // 10**6
        raise TeacherError(said("This file is larger than {megabytes} MB: bring a smaller teacher.", megabytes=most))
    if content[:4] == b"PK\3\4":
        names = _zip_names(content)
        if any(name.endswith("/archive_format") or name == "serialized_exported_program.json" for name in names):
            return "program"
        if any(name.endswith("/constants.pkl") for name in names):
            raise TeacherError(
                said(
                    "This is a TorchScript program, which KD Lab does not run: save model.state_dict(), or export it"
                    " with torch.export or to ONNX."
                )
            )
        return "weights"
    if content[:1] == b"\x80" or content[8:9] == b"{":
        return "weights"
    if content[:1] in (b"\x08", b"\x12", b"\x3a"):  # protobuf: ir_version, producer_name or graph comes first
        return "onnx"
    raise TeacherError(
        said(
            "This is none of the files that KD Lab reads: a state dict saved by torch.save, safetensors, a torch.export"
            " program, or ONNX."
        )
    )


def _zip_names(content: bytes) -> list[str]:
    """The members of a zip file that unpacks to no more than a teacher may."""
    try:
        archive = Archive(content)
        archive.check_size(MAX_NAMES, black_box.MAX_BYTES)
    except DamagedError as error:
        raise TeacherError(said("This file is damaged or cut short: copy it again.")) from error
    except FlawError as flaw:
        most = black_box.MAX_BYTES // 10**6
        raise TeacherError(
            said("This file unpacks to over {megabytes} MB: bring a smaller teacher.", megabytes=most)
        ) from flaw
    return list(archive.sizes)


# ------------------------------------------------------------------------------------------------------ what it says


def _check_answers(logits: Callable[[Tensor], Tensor], test_images: Tensor) -> None:
    """Raise TeacherError where it answers by more than the image.

    That is where it draws random numbers, remembers what it was asked, or looks at the other images of a batch.
    """
    images = test_images[: black_box.BATCH]
    first, second, few = logits(images), logits(images), logits(images[:3])
    logits(images[:1])  # as somebody's drawing is asked for
    if not bool(first.isfinite().all()):
        return
    if not torch.allclose(first, second, rtol=SAME, atol=SAME):
        raise TeacherError(
            said(
                "This file says something else when it is asked again of the same images: it was saved as in training."
                " Call model.eval() before you export it."
            )
        )
    if not torch.allclose(first[:3], few, rtol=SAME, atol=SAME):
        raise TeacherError(
            said(
                "What this file says of an image depends on the others beside it: it was saved as in training (call"
                " model.eval() before you export it), or it is quantised dynamically (bring it as it was before)."
            )
        )


def _guessing(errors: int, labels: Any) -> str:
    """A sentence where always naming the most frequent class does as well, by an exact test."""
    from scipy.stats import binomtest

    right, most = len(labels) - errors, np.bincount(labels).max() / len(labels)
    chance = binomtest(right, len(labels), most, alternative="greater").pvalue
    if chance < GUESSES:
        return ""
    return said(
        "It errs as if it guessed: it gets {share:.1%} of the test images right, and always naming the most frequent"
        " class {most:.1%} (exact binomial test, p = {chance:.2g}). It is untrained, or was trained on other images, on"
        " these resized (state the side), or as another architecture.",
        share=right / len(labels),
        most=most,
        chance=chance,
    )


def _better(chosen: Chosen) -> str:
    """A sentence where other answers than its user's do better."""
    if chosen.better is None:
        return ""
    reading, score = chosen.better
    changes = [f"{name} {option}" for name, option in reading.items() if option != chosen.reading[name]]
    return said(
        "Other answers do better: with {changes} it gets {score}.", changes=", ".join(changes), score=score.sentence
    )


def _order(chosen: Chosen) -> str:
    """A sentence where its classes stand in another order."""
    if chosen.order is None:
        return ""
    order, score = chosen.order
    return said(
        "Its classes stand in another order, which explains most of its errors: with classes {order} it gets {score}.",
        order=",".join(map(str, order)),
        score=score.sentence,
    )


def _unknown(errors: int | None, tried: Sequence[int]) -> str:
    """A sentence where the number of errors that its user knows did not come out."""
    if errors is None or errors in tried:
        return ""
    nearest = min(tried, key=lambda number: abs(number - errors))
    return said(
        "{errors:,} test errors were to come out, and none of the ways to read it that do best gives them (the nearest:"
        " {nearest:,}): something in it is read wrongly, or they are of other images.",
        errors=errors,
        nearest=nearest,
    )
