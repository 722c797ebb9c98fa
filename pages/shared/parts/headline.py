"""What results mean, in words."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import streamlit as st

from kd_core.evaluation.claims import gap_closed, speed_claim
from kd_core.experiments.story import assistants, baseline_beside, names
from kd_core.runs.run import Run
from pages.shared.words import literal


def accuracy_of(run: Run) -> float:
    """Share of the test set that a finished run gets right."""
    return 1 - float(run.results["test_errors"]) / float(run.results["test_examples"])


def say_mistakes(runs: Sequence[Run]) -> None:
    """A warning where runs make mistakes on purpose, so that nobody takes theirs for results."""
    wrong = [run for run in runs if run.config.mistake]
    if wrong:
        st.warning(literal(f"Made for the lesson 'Break it', no results: {'; '.join(run.label for run in wrong)}."))


class Story(NamedTuple):
    """What a headline is of: a teacher, a distilled student that is no assistant, and the baseline beside it."""

    teacher: Run | None
    baseline: Run | None
    distilled: Run | None


def story_of(runs: Sequence[Run]) -> Story:
    """The first of each among runs, those made with a mistake on purpose left out."""
    meant = [run for run in runs if not run.config.mistake]
    between = assistants({run.id: run.config for run in runs})
    teacher = next((run for run in meant if run.config.role == "teacher"), None)
    distilled = next((run for run in meant if run.config.role == "distilled" and run.id not in between), None)
    alike = None if distilled is None else baseline_beside(distilled.settled)
    return Story(teacher, next((run for run in meant if run.settled == alike), None), distilled)


def headline(runs: Sequence[Run], speed: Mapping[str, Any] | None = None, shown: Callable[[str], str] = literal) -> str:
    """In Markdown: the errors, how much of the gap to its teacher the student closes, the cost, and who was stopped.

    speed: the measured speeds of these runs, where they are known. shown: what makes text of a run's label.
    """
    teacher, baseline, distilled = story_of(runs)
    stopped = "".join(f" **{shown(names(runs)[run.id])}: {run.stopped_said}.**" for run in runs if run.stopped_said)
    if teacher is None or distilled is None:
        first, *others = runs
        text = f"{shown(first.label)} makes **{first.results['test_errors']:,}** errors on the test set"
        return (
            "; ".join([text, *(f"{shown(run.label)} makes **{run.results['test_errors']:,}**" for run in others)]) + "."
        ) + stopped
    errors = {run.id: run.results["test_errors"] for run in runs}
    text = (
        f"The distilled student makes **{errors[distilled.id]:,}** test errors of"
        f" {distilled.results['test_examples']:,}, its teacher {errors[teacher.id]:,}"
    )
    between = assistants({run.id: run.config for run in runs})
    text += "".join(f", the assistant {errors[run.id]:,}" for run in runs if run.id in between)
    if baseline is not None:
        closed = gap_closed(errors[teacher.id], errors[baseline.id], errors[distilled.id])
        text += f", the baseline {errors[baseline.id]:,}: on this seed it {closed}"
    text += f". It has {_size(teacher, distilled)}{_in_time(teacher, distilled, speed)}.{stopped}"
    if (fraction := distilled.config.transfer_set.fraction) < 1:
        learners = "It" if baseline is None else "Both students"
        text += f" {learners} learned from {100 * fraction:.3g}% of the training images."
    return text


def _in_time(teacher: Run, distilled: Run, speed: Mapping[str, Any] | None) -> str:
    claim = None if speed is None or "problem" in speed else speed_claim(speed, distilled.id, teacher.id)
    if claim is None:
        return ""
    return f" and is {claim.sentence}" if claim.measurable else f"; {claim.sentence}"


def _size(teacher: Run, distilled: Run) -> str:
    known = teacher.results["parameters"] is not None and distilled.results["parameters"] is not None
    of = "parameters" if known else "size_bytes"
    ratio = teacher.results[of] / distilled.results[of]
    return f"{f'1/{ratio:.0f}' if ratio >= 2 else f'{1 / ratio:.0%}'} of the teacher's size"
