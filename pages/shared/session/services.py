"""The one store and the one queue of this server, shared by all sessions."""

import atexit
import math
import os
import secrets
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from kd_core.base import paths as base_paths
from kd_core.base.config import ConfigError, LabError
from kd_core.base.templates import said
from kd_core.data import paths as data_paths
from kd_core.data.catalogue import DATASETS, HANDWRITTEN, info_of, is_own
from kd_core.data.download import DatasetError
from kd_core.data.intake import Intake
from kd_core.data.own import library
from kd_core.exchange import shipped
from kd_core.exchange.teacher.trial import Trial
from kd_core.experiments import presets, story
from kd_core.experiments.advice import before
from kd_core.experiments.advice.before import Timing
from kd_core.jobs.queue import Jobs
from kd_core.jobs.turns import Limits, Span
from kd_core.models.config import ModelConfig
from kd_core.runs import recovery
from kd_core.runs.run import Run, folder_of
from kd_core.runs.store import Store
from kd_core.training.config import RunConfig
from pages.shared.language import _
from pages.shared.session import keys
from pages.shared.words import in_language

if TYPE_CHECKING:
    from kd_core.data import dataset as data_dataset
    from kd_core.experiments.advice import after
    from kd_core.runs import artifacts

WARM_UP_AFTER_SECONDS = 2.0
OWNER_COLOURS = ("#b4548f", "#7a6ad8", "#3a93b8", "#7d9a2e", "#c2703d", "#8a6a4f", "#4f8f6b", "#a08035")
RUNS_TIMED = 50
FORECAST_SECONDS = 2.0
"""How old a forecast may be."""
TRIALS_KEPT = 5
"""Teachers' files that are being tried, or were and are not taken yet."""


class Spoken(str):
    """A sentence that Streamlit shows while a cached function works: it asks for its text each time that it does."""

    def __str__(self) -> str:
        return _(self)


LOADING_DATA = Spoken(said("Loading the data set …"))
LOADING_MODEL = Spoken(said("Loading the model …"))
READING_RESULTS = Spoken(said("Reading the results …"))


def store() -> Store:
    """The run store of KD_HOME. Raises StoreError where it cannot be used."""
    return _opened(base_paths.home()).store


def mended() -> str | None:
    """What had to be mended when this server opened its store, in a sentence, or None."""
    home = base_paths.home()
    return recovery.damage_notice(home) or _opened(home).notice


def jobs() -> Jobs:
    """The queue of this server."""
    return _jobs(base_paths.home())


def browser() -> str:
    """The id of the browser that this script runs for; empty where it has none, as in a test."""
    named = st.context.cookies.get(keys.BROWSER_COOKIE)
    return named if isinstance(named, str) and named.isascii() and named.isalnum() and len(named) <= 40 else ""


def owner_colour(browser_id: str) -> str:
    """The colour that stands for a browser, wherever its runs are listed; grey for runs from a shell."""
    return OWNER_COLOURS[zlib.crc32(browser_id.encode()) % len(OWNER_COLOURS)] if browser_id else "#888888"


@st.cache_resource(show_spinner=False)
def _opened(home: Path) -> recovery.Opened:
    opened = recovery.open_store(home, base_paths.storage(), behind=True)
    threading.Thread(target=_tidy_up, args=(opened.store,), name="kd-lab-tidy-up", daemon=True).start()
    shipped.offer(opened.store)
    return opened


def _tidy_up(store: Store) -> None:
    """Remove what nobody needs any more, which takes a look at every run's folder."""
    with suppress(LabError):
        store.purge()
        store.prune()


@st.cache_resource(show_spinner=False)
def _jobs(home: Path) -> Jobs:
    queue = Jobs(_opened(home).store, os.environ.get("KD_SCHEDULER"), Limits.from_environment())
    likely = [
        config
        for dataset in sorted(HANDWRITTEN)
        if data_paths.available(dataset)
        for config in story.plan(presets.quick_demo(dataset)).to_train.values()
        if config.role != "distilled"
    ]
    warm_up = threading.Timer(WARM_UP_AFTER_SECONDS, queue.start, [likely])  # the first page comes first
    warm_up.daemon = True
    warm_up.start()
    return queue


def intake() -> Intake:
    """What takes data sets in."""
    return _intake(base_paths.home())


@st.cache_resource(show_spinner=False)
def _intake(home: Path) -> Intake:
    opened = Intake(home)
    atexit.register(opened.close)  # what is being taken in ends with the server
    return opened


def begin_trial(trial: Trial) -> str:
    """Remember a teacher's file that is being tried, and return an id for it; of many, the oldest are given up."""
    trials = _trials()
    while len(trials) >= TRIALS_KEPT:
        end_trial(next(iter(trials), None))
    trial_id = secrets.token_hex(8)
    trials[trial_id] = trial
    return trial_id


def trial(trial_id: str | None) -> Trial | None:
    """What was begun under an id, or None where this server knows of none."""
    return _trials().get(trial_id or "")


def end_trial(trial_id: str | None) -> None:
    """Stop a trial, and let go of its file."""
    ended = _trials().pop(trial_id or "", None)
    if ended is not None:
        ended.close()


@st.cache_resource(show_spinner=False)
def _trials() -> dict[str, Trial]:
    return {}


def data_sets(*others: str) -> dict[str, str]:
    """All data sets and what people call them: those known by name, those that users brought, and others.

    Of users' own of one label, the beginning of each one's checksum tells them apart. Storage is asked once.
    """
    own = library.names(base_paths.storage())
    of_label = Counter(info_of(name).label for name in own)

    def called(name: str) -> str:
        label = info_of(name).label
        if is_own(name) and of_label[label] > 1:
            return _("{label} (your own, {id})", label=label, id=name.split(".")[2][:4])
        if is_own(name):
            return _("{label} (your own)", label=label)
        return in_language(label) if data_paths.available(name) else _("{label} (will be downloaded)", label=label)

    return {name: called(name) for name in (*DATASETS, *own, *others)}


def _loaded(name: str) -> "data_dataset.Dataset":
    """A data set that is on this machine: a page downloads none, as it would stand still. Raises DatasetError."""
    from kd_core.data import load

    if not data_paths.available(name):
        sentence = said("{label} is not on this machine: fetch it on the Data page first.", label=info_of(name).label)
        raise DatasetError(sentence)
    return load.load(name)


@st.cache_data(show_spinner=LOADING_DATA, max_entries=8)
def samples(name: str, count: int) -> tuple[tuple[str, ...], list[NDArray[np.uint8]]]:
    """The names of a data set's classes, and of each the first training images, (count or fewer, C, H, W).

    Raises DatasetError.
    """
    loaded = _loaded(name)
    labels = loaded.train_labels.numpy()
    rows = [np.flatnonzero(labels == label)[:count] for label in range(len(loaded.class_names))]
    return loaded.class_names, [loaded.train_images[indices].numpy() for indices in rows]


@st.cache_data(show_spinner=False, max_entries=16)
def class_counts(name: str) -> tuple[tuple[str, ...], list[int], list[int]]:
    """The names of a data set's classes, and how many training and test images each has. Raises DatasetError."""
    loaded = _loaded(name)
    counts = (
        np.bincount(labels.numpy(), minlength=len(loaded.class_names))
        for labels in (loaded.train_labels, loaded.test_labels)
    )
    train, test = (count.tolist() for count in counts)
    return loaded.class_names, train, test


@st.cache_resource(show_spinner=LOADING_DATA, max_entries=4)
def test_set(name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (N, C, H, W) and labels (N,) of a data set's test set. Raises DatasetError."""
    loaded = _loaded(name)
    return loaded.test_images.numpy(), loaded.test_labels.numpy()


def class_names(dataset: str) -> tuple[str, ...]:
    """The names of a data set's classes; their numbers where it is not on this machine. Raises DatasetError."""
    if dataset not in HANDWRITTEN and data_paths.available(dataset):
        return _class_names(dataset)
    return tuple(map(str, range(info_of(dataset).classes)))


def class_names_of(run: Run) -> tuple[str, ...]:
    """The names of the classes that a trained run tells apart, from its own card where its data set is not here."""
    known = run.config.dataset in HANDWRITTEN or data_paths.available(run.config.dataset)
    return class_names(run.config.dataset) if known else trained(run.id).class_names


@st.cache_resource(show_spinner=LOADING_DATA, max_entries=64)
def _class_names(dataset: str) -> tuple[str, ...]:
    if is_own(dataset):  # whose images need not be opened for it
        return library.card(base_paths.storage(), dataset).class_names
    return _loaded(dataset).class_names


def doubts(dataset: str) -> list[str]:
    """Say what numbers on a user's data set cannot be trusted for, a sentence each."""
    return [_(doubt) for doubt in library.doubts(base_paths.storage(), dataset)]


@st.cache_resource(show_spinner=False, max_entries=4)
def probes(name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Images, labels and indices into the test set of a data set's probes, which runs record logits of as they learn.

    Raises DatasetError.
    """
    loaded = _loaded(name)
    indices = loaded.probes
    return loaded.test_images[indices].numpy(), loaded.test_labels[indices].numpy(), indices.numpy()


@st.cache_data(show_spinner=READING_RESULTS, max_entries=64)
def test_logits(run_id: str) -> NDArray[np.float32]:
    """Logits of a run over the test set, (N, K). Raises SaveError."""
    from kd_core.runs import artifacts

    return artifacts.test_logits(folder_of(base_paths.storage(), run_id))


@st.cache_data(show_spinner=READING_RESULTS, max_entries=64)
def validation_logits(run_id: str) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
    """Logits of a run over its validation split, (N, K), and its labels, (N,); None where it kept none."""
    from kd_core.runs import artifacts

    return artifacts.validation_logits(folder_of(base_paths.storage(), run_id))


@st.cache_resource(show_spinner=LOADING_MODEL, max_entries=4)
def trained(run_id: str) -> "artifacts.Trained":
    """A run's trained model, ready for images that its user draws. Raises SaveError.

    Few are kept: the paper's teacher takes 10 MB and a few milliseconds to read again.
    """
    from kd_core.runs import artifacts

    return artifacts.load_trained(folder_of(base_paths.storage(), run_id))


@st.cache_data(show_spinner=False, max_entries=512)
def costs(model: ModelConfig, dataset: str) -> dict[str, int]:
    """parameters, size_bytes and multiply_adds of an architecture on a data set, without training it."""
    from kd_core.evaluation import speed
    from kd_core.models import build

    info = info_of(dataset)
    with build.taking(model, info.image_shape):
        return speed.costs(build.blueprint(model, info.image_shape, info.classes), info.image_shape)


def expected_seconds() -> Callable[[RunConfig], float | None]:
    """How long a run of a config is expected to train on this machine; None where nothing measured compares."""
    timed = timings()

    def seconds(config: RunConfig) -> float | None:
        if not config.trained_here:
            return None
        try:
            work = costs(config.model, config.dataset)["multiply_adds"]
        except ConfigError:  # of own code that is not here
            return None
        return before.expected_seconds(config, work, timed)

    return seconds


def forecast(configs: Mapping[str, RunConfig]) -> Span | None:
    """When the first of new runs of this session's browser begins and the last ends; None where nobody knows."""
    if not configs:
        return None
    queue = jobs().forecast(expected_seconds(), configs, browser())
    spans = [queue[run_id] for run_id in configs]
    whole = Span(min(span.begins for span in spans), max(span.ends for span in spans))
    return whole if math.isfinite(whole.ends) else None


def queue_forecast() -> dict[str, Span]:
    """The same of the queue as it is, for all who watch: not anew for each."""
    return _queue_forecast(str(base_paths.home()))


@st.cache_data(show_spinner=False, ttl=FORECAST_SECONDS)
def _queue_forecast(home: str) -> dict[str, Span]:
    return jobs().forecast(expected_seconds())


def timings() -> list[Timing]:
    """What the newest runs that finished on a machine like this one took, an epoch at the median."""
    from kd_core.evaluation.speed import processor

    here = processor()
    alike = (run for run in store().listing().runs if run.status == "finished")
    alike = (run for run in alike if run.environment.get("processor") == here)
    timed = [
        Timing(run.settled, cost, _epoch_seconds(run.id))
        for run in islice(alike, RUNS_TIMED)
        if (cost := run.results["multiply_adds"]) is not None
    ]
    return [timing for timing in timed if timing.epoch_seconds > 0]


@st.cache_data(show_spinner=False, max_entries=1024)
def _epoch_seconds(run_id: str) -> float:
    return median(store().epoch_seconds(run_id) or [0.0])


def advice(run: Run) -> "list[after.Advice]":
    """What the numbers of a distilled run say, most important first. Raises LabError where they cannot be read."""
    from kd_core.experiments.advice import evidence

    around = evidence.related(store(), run)
    return _advice(run.id, " ".join(f"{other.id} {other.status} {other.attempt}" for other in around))


@st.cache_data(show_spinner=READING_RESULTS, max_entries=64)
def _advice(run_id: str, around: str) -> "list[after.Advice]":
    from kd_core.experiments.advice import after, evidence

    return after.advise(evidence.evidence_of(store(), store().get(run_id)))
