"""What results mean, in words."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from kd_core.recipes import assistants
from kd_core.runs import Run
from pages.widgets.words import literal


def accuracy_of(run: Run) -> float:
    """Share of the test set that a finished run gets right."""
    return 1 - float(run.results["test_errors"]) / float(run.results["test_examples"])


def say_mistakes(runs: Sequence[Run]) -> None:
    """A warning where runs make mistakes on purpose, so that nobody takes theirs for results."""
    wrong = [run for run in runs if run.config.mistake]
    if wrong:
        st.warning(literal(f"Made for the lesson 'Break it', no results: {'; '.join(run.label for run in wrong)}."))


def headline(runs: Sequence[Run], speed: Mapping[str, Any] | None = None, shown: Callable[[str], str] = literal) -> str:
    """One sentence in Markdown: what the student keeps of its teacher, at which cost, and whether the teacher helped.

    speed: the measured speeds of these runs, where they are known. shown: what makes text of a run's label.
    """
    told = [run for run in runs if not run.config.mistake]
    teacher = next((run for run in told if run.config.role == "teacher"), None)
    between = assistants({run.id: run.config for run in runs})
    distilled = next((run for run in told if run.config.role == "distilled" and run.id not in between), None)
    baseline = next((run for run in runs if run.config.role == "baseline"), None)
    if teacher is None or distilled is None:
        first, *others = runs
        text = f"{shown(first.label)} makes **{first.results['test_errors']:,}** errors on the test set"
        return (
            "; ".join([text, *(f"{shown(run.label)} makes **{run.results['test_errors']:,}**" for run in others)]) + "."
        )
    kept = accuracy_of(distilled) / max(accuracy_of(teacher), 1e-9)
    known = teacher.results["parameters"] is not None and distilled.results["parameters"] is not None
    of_size = "parameters" if known else "size_bytes"
    size = teacher.results[of_size] / distilled.results[of_size]
    text = (
        f"The distilled student keeps **{kept:.1%}** of its teacher's accuracy"
        f" {_in_size(size)}{_in_time(teacher, distilled, speed)}: {distilled.results['test_errors']:,} test errors"
        f" of {distilled.results['test_examples']:,}, the teacher {teacher.results['test_errors']:,}"
    )
    text += "".join(f", the assistant {run.results['test_errors']:,}" for run in runs if run.id in between)
    if baseline is not None:
        text += f", the baseline {baseline.results['test_errors']:,}"
    return text + "."


def _in_time(teacher: Run, distilled: Run, speed: Mapping[str, Any] | None) -> str:
    if speed is None or "problem" in speed:
        return ""
    latency = {run.id: speed["models"][run.id]["latency_ms_p50"] for run in (teacher, distilled)}
    return f", **{latency[teacher.id] / latency[distilled.id]:.1f} times** as fast"


def _in_size(ratio: float) -> str:
    return f"at 1/{ratio:.0f} of its size" if ratio >= 2 else f"at {1 / ratio:.0%} of its size"
