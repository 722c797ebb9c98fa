"""What runs that stand side by side are called, and their colours: one name and one shade a run, on every page."""

from collections.abc import Sequence

from kd_core.experiments import story
from kd_core.runs.run import Run
from pages.shared.figures import style
from pages.shared.words import cell, in_language


def short_names(runs: Sequence[Run]) -> dict[str, str]:
    """Run id -> what it is called beside the others, for tables, figures and components."""
    return {run_id: cell(in_language(name)) for run_id, name in story.names(runs).items()}


def shades(runs: Sequence[Run]) -> dict[str, str]:
    """Run id -> its role's colour, or a shade of it where several have the role."""
    colours = style.colours_of([run.config.kind for run in runs])
    return {run.id: colour for run, colour in zip(runs, colours, strict=True)}
