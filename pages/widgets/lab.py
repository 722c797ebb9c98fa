"""The one store and the one queue of this server, shared by all sessions."""

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from kd_core import places, recipes
from kd_core.config import DATASETS
from kd_core.jobs import Jobs
from kd_core.runs import Store

if TYPE_CHECKING:
    from kd_core import artifacts

WARM_UP_AFTER_SECONDS = 2.0


def store() -> Store:
    """The run store of KD_HOME. Raises StoreError where it cannot be used."""
    return _store(places.home())


def jobs() -> Jobs:
    """The queue of this server."""
    return _jobs(places.home())


@st.cache_resource(show_spinner=False)
def _store(home: Path) -> Store:
    opened = Store(home)
    opened.interrupt_orphans()
    return opened


@st.cache_resource(show_spinner=False)
def _jobs(home: Path) -> Jobs:
    queue = Jobs(_store(home), os.environ.get("KD_SCHEDULER"))
    likely = [
        config
        for dataset in DATASETS
        if places.available(dataset)
        for config in recipes.quick_demo(dataset).values()
        if config.role != "distilled"
    ]
    warm_up = threading.Timer(WARM_UP_AFTER_SECONDS, queue.start, [likely])  # the first page comes first
    warm_up.daemon = True
    warm_up.start()
    return queue


@st.cache_resource(show_spinner="Loading the data set …", max_entries=4)
def test_set(name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (N, C, H, W) and labels (N,) of a data set's test set. Raises DatasetError."""
    from kd_core import datasets

    loaded = datasets.load(name)
    return loaded.test_images.numpy(), loaded.test_labels.numpy()


@st.cache_data(show_spinner="Reading the results …", max_entries=64)
def test_logits(run_id: str) -> NDArray[np.float32]:
    """Logits of a run over the test set, (N, K). Raises SaveError."""
    from kd_core import artifacts

    return artifacts.test_logits(places.home(), run_id)


@st.cache_resource(show_spinner="Loading the model …", max_entries=32)
def trained(run_id: str) -> "artifacts.Trained":
    """A run's trained model, ready for images that its user draws. Raises SaveError."""
    from kd_core import artifacts

    return artifacts.load_trained(places.home(), run_id)
