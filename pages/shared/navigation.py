"""The pages, as the navigation lists them: the only list there is."""

from typing import NamedTuple


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
        Listed("overview", "Start", "home"),
        Listed("lesson", "Lesson", "school"),
        Listed("temperature", "Temperature", "thermostat"),
        Listed("playground", "Playground", "scatter_plot"),
        Listed("train", "Train", "model_training"),
        Listed("compare", "Compare", "balance"),
    ],
    "Experiments": [
        Listed("sweep", "Sweep", "grid_on"),
        Listed("objectives", "Objectives", "leaderboard"),
        Listed("paper", "Paper", "article"),
        Listed("limits", "When not", "do_not_disturb_on"),
        Listed("mistakes", "Break it", "bug_report"),
    ],
    "Library": [
        Listed("data", "Data", "photo_library"),
        Listed("runs", "Runs", "list"),
        Listed("export", "Export", "ios_share"),
    ],
}
"""By the menu that holds them; those of "" stand in the bar itself."""
LISTED = [page for pages in SECTIONS.values() for page in pages]
