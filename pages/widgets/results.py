"""What results mean, in words."""

from collections.abc import Sequence

from kd_core.runs import Run


def accuracy_of(run: Run) -> float:
    """Share of the test set that a finished run gets right."""
    return 1 - float(run.results["test_errors"]) / float(run.results["test_examples"])


def headline(runs: Sequence[Run]) -> str:
    """One sentence on a batch: what the student keeps of its teacher, and whether the teacher helped."""
    teacher = next((run for run in runs if run.config.role == "teacher"), None)
    distilled = next((run for run in runs if run.config.role == "distilled"), None)
    baseline = next((run for run in runs if run.config.role == "baseline"), None)
    if teacher is None or distilled is None:
        return "Done."
    kept = accuracy_of(distilled) / max(accuracy_of(teacher), 1e-9)
    size = teacher.results["parameters"] / distilled.results["parameters"]
    text = (
        f"The distilled student keeps **{kept:.1%}** of its teacher's accuracy"
        f" {_in_size(size)}: {distilled.results['test_errors']:,} test errors"
        f" of {distilled.results['test_examples']:,}, the teacher {teacher.results['test_errors']:,}"
    )
    if baseline is not None:
        text += f", the same student without a teacher {baseline.results['test_errors']:,}"
    return text + "."


def _in_size(ratio: float) -> str:
    return f"at 1/{ratio:.0f} of its size" if ratio >= 2 else f"at {1 / ratio:.0%} of its size"
