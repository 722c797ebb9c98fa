"""From a data set's name to its images and labels."""

from pathlib import Path

import torch

from kd_core.base import paths as base_paths
from kd_core.base.config import ConfigError
from kd_core.base.files import AnyPath
from kd_core.base.templates import said, said_by
from kd_core.data import paths as data_paths
from kd_core.data.catalogue import info_of
from kd_core.data.dataset import Dataset
from kd_core.data.download import DatasetError, Progress, download
from kd_core.data.own import library
from kd_core.data.sets.definition import DatasetInfo


def load(name: str, progress: Progress | None = None, storage: AnyPath | None = None) -> Dataset:
    """The data set called name, from memory where this process has read it before.

    progress hears about a download, should one be needed. storage: where users' own data sets lie, by default that of
    this machine (KD_STORAGE).
    Raises DatasetError where it is unknown, damaged, or neither on disk nor to be downloaded.
    """
    try:
        info = info_of(name)
    except ConfigError as error:
        raise DatasetError(said_by(error)) from None
    if info.read is None:
        return _own(name, storage if storage is not None else base_paths.storage())
    folder = data_paths.folder_of(name) or download(name, progress)
    try:
        return info.read(folder)
    except (OSError, ValueError, AssertionError, RuntimeError, TypeError, KeyError) as error:
        if not info.files:
            raise
        raise DatasetError(_damaged(folder, info)) from error


def _damaged(folder: Path, info: DatasetInfo) -> str:
    files = (folder / info.files[0]).parent
    return said(
        "The {label} files in {folder} are damaged or cut short: delete that folder, then start again to download"
        " them.",
        label=info.label,
        folder=files,
    )


def _own(name: str, storage: AnyPath) -> Dataset:
    parts = library.read(storage, name)
    (train_images, test_images), (train_labels, test_labels) = (
        tuple(map(torch.from_numpy, arrays)) for arrays in (parts.images, parts.labels)
    )
    kinds = parts.class_names, parts.mean, parts.std, parts.streamed
    groups = None if parts.groups is None else torch.from_numpy(parts.groups)
    return Dataset(name, train_images, train_labels, test_images, test_labels, *kinds, groups)
