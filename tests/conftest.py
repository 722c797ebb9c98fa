"""What tests share: a home of their own, and the data sets."""

import os
from pathlib import Path

import pytest

from kd_core import datasets, places, shipped
from kd_core.runs import Store


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


@pytest.fixture(scope="session")
def digits():
    """The embedded data set."""
    return datasets.load("digits")


@pytest.fixture
def mnist():
    """Real MNIST, where it lies on this machine."""
    if places.mnist_folder() is None:
        message = "MNIST is not on this machine: set KD_DATA_DIR to a folder with MNIST/raw, as .ci/run does"
        pytest.fail(message) if os.environ.get("KD_NO_SKIPS") else pytest.skip(message)
    return datasets.load("mnist")
