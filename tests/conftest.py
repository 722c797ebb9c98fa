"""What tests share: a home of their own, tiny runs, and the data sets."""

import os
from pathlib import Path

import pytest

from kd_core import datasets, jobs, places
from kd_core.config import DistillationConfig, ModelConfig, RunConfig, TrainingConfig
from kd_core.runs import Store, new_id

TINY = ModelConfig(hidden=(16,))


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """KD_HOME, empty, for this test alone."""
    folder = tmp_path / "home"
    monkeypatch.setenv("KD_HOME", str(folder))
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


def tiny_config(role: str = "teacher", *, teachers: tuple[str, ...] = (), seed: int = 0, **training) -> RunConfig:
    """A run on digits that takes a fraction of a second an epoch."""
    settings = {"epochs": 2, "batch_size": 128, "learning_rate": 5e-3, "precision": "float32", **training}
    return RunConfig(
        role=role,
        dataset="digits",
        model=TINY,
        distillation=DistillationConfig(teachers=teachers, temperature=2.0) if teachers else None,
        training=TrainingConfig(**settings),
        seed=seed,
    )


def train_here(store: Store, config: RunConfig, *, requested=lambda: None, on_event=lambda event: None) -> str:
    """Do one run in this process and return its id."""
    run_id = new_id()
    store.create({run_id: config})
    jobs.run_here(store, run_id, on_event, requested)
    return run_id
