"""Which models the lesson speaks of: those of the address, else of what ships, with all that its questions read."""

from collections.abc import Sequence
from typing import NamedTuple

import streamlit as st

from kd_core.data.catalogue import HANDWRITTEN, info_of
from kd_core.data.paths import available
from kd_core.evaluation.statistics import FEWEST_SEEDS
from kd_core.exchange import lesson, shipped
from kd_core.experiments import story
from kd_core.experiments.lesson import material as lesson_material
from kd_core.experiments.lesson.catalogue import say
from kd_core.experiments.lesson.material import Material, Missing, Seeds, Students
from kd_core.runs.run import Run
from pages.lesson.asking import as_markdown
from pages.shared.language import _
from pages.shared.session import keys, pickers, services

DIGITS = "digits"
"""The data set of the students that ship."""


class Shown(NamedTuple):
    """The models on screen, the teacher first, the student last; and what the lesson computes of them."""

    runs: list[Run]
    material: Material

    @property
    def dataset(self) -> str:
        """Of these models."""
        return self.runs[0].config.dataset

    @property
    def student(self) -> Run | None:
        """The distilled student, or the baseline where there is none."""
        return self.runs[-1] if self.runs[-1].config.role != "teacher" else None

    @property
    def values(self) -> dict[str, object]:
        """Values for the steps' texts, as Markdown."""
        return {name: as_markdown(value) for name, value in self.material.values.items()}

    @property
    def sentence(self) -> str:
        """What stands on screen, and its leitmotif."""
        return _(say("words.on_screen", **{**self.values, "models": as_markdown(info_of(self.dataset).label)}))

    def address(self, view: str) -> dict[str, str]:
        """The address in which the page with the whole view opens."""
        named = {keys.BATCH: self.runs[-1].batch}
        if view in ("sure", "doubtful", "felt"):
            return {**named, "image": f"test-{self.image(view)}", "T": st.query_params.get("T", "1")}
        if view == "missing":
            return {"experiment": "no_3", "on": self.dataset if self.dataset in HANDWRITTEN else DIGITS}
        if view == "distill":
            return {keys.VIEW: keys.SET_UP}
        return named if view in ("costs", "gradient", "seeds", "targets") else {}

    def image(self, view: str) -> int:
        """The test image of a view: one of which the teacher is sure, or the one that it doubts most."""
        return self.material.sure if view == "sure" else self.material.doubtful


def models_on_screen() -> Shown | None:
    """The models of the address or session, else those that ship, where their test set is here; None without any."""
    return models_of(keys.chosen_batch())


def models_of(wanted: str | None) -> Shown | None:
    """The models of this story, else those that ship, where their test set is here; None without any."""
    batches = pickers.batches_with_teacher()
    ships = [f"{shipped.TAG}{dataset}" for dataset in ("mnist", DIGITS)]
    for batch in (wanted, *ships, *batches):
        if batch not in batches:
            continue
        runs = _of_each_role(pickers.with_teacher(batches[batch]))
        if runs and available(runs[0].config.dataset):
            seeds = _seeds(runs) or _shipped_seeds()
            known = None if seeds is None else (*seeds[:3], tuple(seeds.errors.items()))
            return Shown(runs, _material(tuple(run.id for run in runs), known))
    return None


def _of_each_role(runs: Sequence[Run]) -> list[Run]:
    """The first teacher and baseline, and the last student: of an ensemble or a sweep one each, and no mistake."""
    meant = [run for run in runs if not run.config.mistake]
    first, last = ({run.config.role: run for run in order} for order in (meant[::-1], meant))
    chosen = [first.get("teacher"), first.get("baseline"), last.get("distilled")]
    return [run for run in chosen if run is not None] if "teacher" in first else []


@st.cache_resource(show_spinner=services.READING_RESULTS, max_entries=8)
def _material(
    ids: tuple[str, ...], known: tuple[str, int, int, tuple[tuple[int, tuple[int, int]], ...]] | None
) -> Material:
    """All that the questions read. known: the fields of Seeds, which grow as other seeds are trained."""
    by_id = {run.id: run for run in services.store().some(ids)}
    runs = [by_id[run_id] for run_id in ids]
    dataset = runs[0].config.dataset
    students = [run for run in runs if run.config.role != "teacher"]
    return Material(
        class_names=services.class_names_of(runs[0]),
        labels=services.test_set(dataset)[1],
        teacher=services.test_logits(ids[0]),
        student=services.test_logits(students[-1].id) if students else None,
        digits=dataset in HANDWRITTEN,
        seeds=None if known is None else Seeds(*known[:3], dict(known[3])),
        students=_students(),
        missing=_missing(dataset) or _missing(DIGITS),
    )


def _seeds(runs: Sequence[Run]) -> Seeds | None:
    """The student on screen and its baseline over the seeds that were trained here; None of too few."""
    distilled = next((run for run in reversed(runs) if run.config.role == "distilled"), None)
    baseline = distilled and story.baseline_of(distilled, services.store().listing())
    if distilled is None or baseline is None:
        return None
    pairs = story.pairs(baseline, distilled, services.store().listing())
    if len(pairs) <= FEWEST_SEEDS:
        return None
    label, examples = info_of(distilled.config.dataset).label, int(distilled.results["test_examples"])
    return Seeds(label, examples, distilled.config.seed, pairs)


def _shipped_seeds() -> Seeds | None:
    errors = lesson.shipped_for(DIGITS).errors
    if not errors:
        return None
    info = info_of(DIGITS)
    pairs = dict(enumerate(zip(errors["story_baseline"], errors["story"], strict=True)))
    return Seeds(info.label, info.test_examples, 0, pairs)


def _students() -> Students | None:
    errors = lesson.shipped_for(DIGITS).errors
    if not errors:
        return None
    info = info_of(DIGITS)
    return Students(info.label, info.test_examples, lesson_material.FEW, lesson_material.UNITS, errors)


def _missing(dataset: str) -> Missing | None:
    """The student that ships and never saw some classes of a data set."""
    unseen = lesson.shipped_for(dataset).unseen
    if unseen is None or not available(dataset):
        return None
    printed = lesson_material.PRINTED if dataset == "mnist" else None
    return Missing(dataset, unseen.classes, unseen.logits, services.test_set(dataset)[1], unseen.prior_bias, printed)
