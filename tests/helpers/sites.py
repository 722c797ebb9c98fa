"""The static site as tests read it: of the digits that ship, written once."""

from pathlib import Path

import pytest

from pages.site.write import write_site


def written_site(folders: pytest.TempPathFactory) -> Path:
    """Write the site, with a home of its own, and return its folder."""
    folder, home = folders.mktemp("site"), folders.mktemp("home")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("KD_HOME", str(home))
        write_site(folder)
    return folder
