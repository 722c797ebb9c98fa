"""What the static site shows: a story's models and test images, the first screen's, and the lesson's questions."""

import base64
import gzip
import json
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kd_core.base.config import LabError
from kd_core.base.templates import prose, said
from kd_core.data.catalogue import HANDWRITTEN
from kd_core.evaluation.soft import GALLERIES, gallery, mean_soft_targets, most_alike, softened
from kd_core.exchange import opening, shipped
from kd_core.exchange.opening import Network
from kd_core.experiments.lesson.catalogue import STEPS, entry, say
from kd_core.experiments.lesson.questions import ask
from kd_core.runs.run import Run
from kd_core.training.config import ROLES
from pages.lesson.asking import as_markdown
from pages.lesson.models import DIGITS, Shown, models_of
from pages.overview.opening import in_words
from pages.shared.components.images.images import smooth, thumbnails
from pages.shared.figures import style
from pages.shared.language import _
from pages.shared.parts.naming import shades
from pages.shared.session import services
from pages.shared.words import glossary
from pages.temperature import dark_knowledge, gradient
from pages.temperature.subject import ANY

TILES = (24, 12, 6, 3, 1)
"""Images of each kind and class, the most of them that fit MOST_BYTES of images, compressed."""
MOST_BYTES = 700_000
CELL_IMAGES, CELL_TEMPERATURE = 8, 4.0
"""Images of each pair of classes, those that the teacher at this T finds most like the other one."""
MOST_CLASSES = 12
"""Of more, a pair of classes has no images of its own."""
MOST_LOGITS = 250_000
"""Of a test set that travel, two bytes each; of more, the map stays at CELL_TEMPERATURE."""
SOFTMAX = r"p_i = \frac{\exp(z_i / T)}{\sum_j \exp(z_j / T)}"


class Story(NamedTuple):
    """A story as the lesson has it; networks: what answers drawings, role -> network; empty where none are taken."""

    shown: Shown
    networks: dict[str, Network]

    @property
    def file(self) -> str:
        """The name by which pages fetch the networks: those that ship are the first screen's too."""
        ships = all(run.batch == f"{shipped.TAG}{self.shown.dataset}" for run in self.runs)
        return self.shown.dataset if ships and len(self.runs) == len(opening.ROLES) else "story"

    @property
    def runs(self) -> list[Run]:
        """The teacher first, the student last."""
        return self.shown.runs


class Question(NamedTuple):
    """A question of the lesson. markdown: text, after and why; answer: which of answers is true."""

    title: str
    prompt: str
    markdown: dict[str, str]
    formula: str
    answers: list[str]
    answer: int


def story_of(batch: str | None) -> Story:
    """The story of a batch, else that of the digits that ship.

    Raises LabError where there is none, or this one cannot be shown.
    """
    shown = models_of(batch or f"{shipped.TAG}{DIGITS}")
    if shown is None:
        raise LabError(said("There is no story with a teacher whose test set is on this machine: train one first."))
    if batch is not None and shown.runs[-1].batch != batch:
        raise LabError(said("The site needs a story with a teacher, whose test set is on this machine: name another."))
    return Story(shown, _networks(shown.runs) if shown.dataset in HANDWRITTEN else {})


def _networks(runs: list[Run]) -> dict[str, Network]:
    """Role -> network; none where one of them cannot be packed."""
    if not all(opening.is_plain(run.config.model.model_dump()) for run in runs):
        return {}
    networks: dict[str, Network] = {}
    for run in runs:
        trained = services.trained(run.id)
        weights = {name: weight.numpy() for name, weight in trained.model.state_dict().items()}
        networks[run.config.role] = Network(run.config.model.model_dump(), weights, trained.mean, trained.std)
    return networks


def opening_in_words(story: Story) -> dict[str, Any] | None:
    """What the first screen shows, of the story's data set where that ships; None where nothing of it does."""
    shown = opening.opening(story.shown.dataset)
    return None if shown is None else in_words(shown)


def model_files(story: Story) -> dict[str, bytes]:
    """Networks that answer drawings, by the name that pages fetch them by."""
    shown = opening.opening(story.shown.dataset)
    files = {} if shown is None else {shown.dataset: opening.browser_models(shown.dataset)}
    if story.networks and story.file not in files:
        files[story.file] = opening.browser_file(story.networks)
    return files


def of_story(story: Story) -> bytes:
    """What Temperature shows of a story, as JSON; arrays are base64 of little-endian numbers."""
    images, labels = services.test_set(story.shown.dataset)
    logits = {run.id: services.test_logits(run.id) for run in story.runs}
    for count in TILES:
        galleries = _galleries(story, labels, logits, count)
        chosen = np.unique([*chain.from_iterable(galleries.values()), *_of_cells(story, labels, logits)])
        pixels = thumbnails(images[chosen])
        if len(gzip.compress(pixels.tobytes())) <= MOST_BYTES:
            break
    places = {int(index): place for place, index in enumerate(chosen)}
    return json.dumps(
        {
            "classes": story.shown.material.class_names,
            "models": [
                {"id": run.id, "role": run.config.role, "colour": shades(story.runs)[run.id]} for run in story.runs
            ],
            "draws": story.file if story.networks else None,
            "shape": pixels.shape[1:],
            "smooth": smooth(images),
            "index": chosen.tolist(),
            "labels": labels[chosen].tolist(),
            "pixels": base64.b64encode(pixels.tobytes()).decode(),
            "logits": {
                run_id: base64.b64encode(rows[chosen].astype("<f4").tobytes()).decode()
                for run_id, rows in logits.items()
            },
            "galleries": {key: [places[index] for index in indices] for key, indices in galleries.items()},
            "map": _map(story, labels, logits[story.runs[0].id]),
        }
    ).encode()


def _galleries(
    story: Story, labels: NDArray[np.int64], logits: dict[str, NDArray[np.float32]], count: int
) -> dict[str, list[int]]:
    """Test images of each kind and true class: "kind/class" -> their indices, of all classes under "kind/any"."""
    teacher, student = logits[story.runs[0].id], logits[story.runs[-1].id] if len(story.runs) > 1 else None
    galleries = {}
    for kind in GALLERIES:
        for label in (None, *range(len(story.shown.material.class_names))):
            indices = gallery(kind, labels, teacher, student, label)[:count].tolist()
            galleries[f"{kind}/{ANY if label is None else label}"] = indices
    shown = opening.opening(story.shown.dataset)
    if shown is not None and shown.dataset == story.shown.dataset:  # its door leads to these
        galleries["opening"] = [example.index for example in shown.examples]
    return galleries


def _of_cells(story: Story, labels: NDArray[np.int64], logits: dict[str, NDArray[np.float32]]) -> list[int]:
    """Images behind the cells of the dark knowledge map."""
    classes = len(story.shown.material.class_names)
    if classes > MOST_CLASSES:
        return []
    soft = softened(logits[story.runs[0].id], CELL_TEMPERATURE)
    of_class = [np.flatnonzero(labels == row) for row in range(classes)]
    most = (indices[np.argsort(-soft[indices], axis=0, kind="stable")[:CELL_IMAGES]] for indices in of_class)
    return [int(index) for indices in most for index in indices.ravel()]


def _map(story: Story, labels: NDArray[np.int64], logits: NDArray[np.float32]) -> dict[str, Any]:
    """What the dark knowledge map is computed from."""
    classes, teacher = len(story.shown.material.class_names), story.runs[0]
    shown = [*range(classes)]
    if logits.size <= MOST_LOGITS and classes <= dark_knowledge.MOST_MAPPED:
        sent: dict[str, Any] = dark_knowledge.for_the_browser(teacher.id, story.shown.dataset)
    else:
        mean = mean_soft_targets(logits, labels, CELL_TEMPERATURE)
        shown = most_alike(mean, dark_knowledge.MOST_MAPPED).tolist()
        sent = {"mean": np.nan_to_num(mean)[np.ix_(shown, shown)].tolist(), "temperature": CELL_TEMPERATURE}
    return {
        **sent,
        "key": teacher.id,
        "shown": shown,
        "many": classes > style.MANY,
        "colour": style.ROLE_COLOURS["teacher"],
    }


def temperature_data(story: Story) -> dict[str, Any]:
    """What the scripts of Temperature say in the language that is read."""
    names = {run.id: _(ROLES[run.config.role]) for run in story.runs}
    return {
        "temperature_slider": {},
        "temperature": {
            "names": names,
            "kinds": [[kind, _(kind)] for kind in GALLERIES],
            "any": _(ANY),
            "glossary": glossary(),
            "felt": {
                "colours": style.GRADIENT_COLOURS,
                "texts": {name: _(text) for name, text in gradient.TEXTS.items()},
            },
        },
    }


def temperature_texts(story: Story) -> dict[str, tuple[str, dict[str, object]]]:
    """The prose of Temperature, in Markdown, with its values."""
    texts, classes = (
        prose(str(Path(gradient.__file__).with_name("page.py"))),
        len(story.shown.material.class_names),
    )
    count = said("ten") if classes == 10 else f"{classes:,}"
    alike = {"likeness": said("which other classes the image is like"), "count": count}
    plain = {"intro": texts["intro"], "high_t": texts["high_t"], "map": dark_knowledge.ABOUT, **gradient.TEXTS}
    return {"hard_and_soft": (texts["hard_and_soft"], alike)} | {name: (text, {}) for name, text in plain.items()}


def questions(story: Story) -> list[Question]:
    """The lesson's questions with their truths, in the language that is read; those that these models can answer."""
    answerable = []
    for step in STEPS:
        question = ask(step.question, story.shown.material, as_markdown) if step.question else None
        if question is None:
            continue
        texts: dict[str, str] = {
            "text": _(step.text, **story.shown.values),
            "after": _(step.after),
            "why": _(question.why),
        }
        answers = [_(answer) for answer in question.answers.values()]
        true = [*question.answers].index(question.answer)
        answerable.append(Question(_(step.title), _(question.prompt), texts, step.formula, answers, true))
    return answerable


def end_of_lesson() -> dict[str, list[str]]:
    """What the lesson ends with: a title, then its sentences, in Markdown."""
    return {name: [_(say(f"end.{name}_title")), *map(_, entry(f"end.{name}"))] for name in ("facts", "worth")}
