"""The pages, as the navigation lists them: the only list there is."""

from typing import NamedTuple

from kd_core.base.templates import said


class Listed(NamedTuple):
    """A page: its folder below pages/, its title and its icon of Material Symbols."""

    folder: str
    title: str
    icon: str

    @property
    def path(self) -> str:
        """Of its address; the first page's is empty."""
        return "" if self == LISTED[0] else self.folder


SECTIONS = {
    "": [
        Listed("overview", said("Start"), "home"),
        Listed("lesson", said("Lesson"), "school"),
        Listed("temperature", said("Temperature"), "thermostat"),
        Listed("playground", said("Playground"), "scatter_plot"),
        Listed("train", said("Train"), "model_training"),
        Listed("compare", said("Compare"), "balance"),
    ],
    said("Experiments"): [
        Listed("sweep", said("Sweep"), "grid_on"),
        Listed("objectives", said("Objectives"), "leaderboard"),
        Listed("paper", said("Paper"), "article"),
        Listed("limits", said("When not"), "do_not_disturb_on"),
        Listed("mistakes", said("Break it"), "bug_report"),
    ],
    said("Library"): [
        Listed("data", said("Data"), "photo_library"),
        Listed("runs", said("Runs"), "list"),
        Listed("export", said("Export"), "ios_share"),
    ],
}
"""By the menu that holds them; those of "" stand in the bar itself."""
LISTED = [page for pages in SECTIONS.values() for page in pages]
