"""What tests share: a home of their own, and the data sets."""

import os
import signal
from pathlib import Path

import pytest

# As in KD Lab's own processes, and before torch is imported. Spinning, the threads of tests that train fight for the
# cores with whatever else runs: test_training took 43 s of processor time beside a load, and 5 s so.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ.pop("COLUMNS", None)  # xdist's; a console that is made under it keeps it whatever a test says

from kd_core.data import paths
from kd_core.exchange import shipped
from kd_core.runs.store import Store

TESTS = Path(__file__).resolve().parent
ORDER = ("browser", "process", "pages", "cluster", "engine", "mnist", "properties", "unit")
"""In which folders' tests run: long files first, so that no worker is left with one in the end."""
LONGEST = ("test_controls", "test_controls_of_train", "test_queue", "test_pages")
"""Files that come first in their folders."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark each test by its folder, and run the folders in ORDER."""
    tiers = {item: item.path.relative_to(TESTS).parts[0] for item in items}
    for item, tier in tiers.items():
        item.add_marker(tier)
    items.sort(key=lambda item: (ORDER.index(tiers[item]), item.path.stem not in LONGEST))


@pytest.fixture(scope="session")
def network_lock(tmp_path_factory):
    """The file, one for all workers, that is locked where hosts are made, and shared by open browsers.

    Where an address of this machine comes or goes, Chromium drops what waits for a connection (ERR_NETWORK_CHANGED),
    and a page that is being opened lacks its parts.
    """
    folder = tmp_path_factory.getbasetemp()
    with ((folder.parent if os.environ.get("PYTEST_XDIST_WORKER") else folder) / "network.lock").open("w") as file:
        yield file


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """KD_HOME, empty, for this test alone; nothing ships."""
    folder = tmp_path / "home"
    monkeypatch.setenv("KD_HOME", str(folder))
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "shipped")
    return folder


@pytest.fixture
def store(home):
    """The store of this test's home."""
    opened = Store(home)
    yield opened
    opened.close()


@pytest.fixture
def heeded_signals():
    """Signals do what they do by default, in child processes too, though a shell or nohup has them ignored."""
    defaults = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.getsignal(number) for number in defaults}
    for number, default in defaults.items():
        if before[number] is signal.SIG_IGN:
            signal.signal(number, default)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def at_this_machine(monkeypatch) -> None:
    """Pages under AppTest see a visitor from this machine, in place of the mock that AppTest puts there."""
    import streamlit as st

    for name, value in {"ip_address": None, "cookies": {}, "headers": {}}.items():
        monkeypatch.setattr(type(st.context), name, value)


@pytest.fixture(scope="session")
def digits():
    """The embedded data set."""
    from kd_core.data import load

    return load.load("digits")


@pytest.fixture
def mnist():
    """Real MNIST, where it lies on this machine."""
    from kd_core.data import load

    if paths.folder_of("mnist") is None:
        message = "MNIST is not on this machine: set KD_DATA_DIR to a folder with MNIST/raw, as .ci/run does"
        pytest.fail(message) if os.environ.get("KD_NO_SKIPS") else pytest.skip(message)
    return load.load("mnist")
