"""Photographs of anybody's as a data set, prepared as the Data page and `kd-lab data add` prepare it."""

import sys
from pathlib import Path
from typing import Any

from kd_core.base.paths import storage
from kd_core.data.dataset import Dataset
from kd_core.data.load import load
from kd_core.data.own import library
from kd_core.data.own.look import look
from kd_core.data.own.prepare import prepare
from kd_core.public.given import DataError


def photographs(source: Path | str, **settings: Any) -> Dataset:
    """A folder or zip with one folder of images a class -> training and test set, (N, C, side, side) uint8.

    They are prepared once, and kept where the app and the shell keep data sets. settings: of
    kd_core.data.own.library.Preparation, such as side=64, test_fraction=0.2, group_prefix="_"; what is left out is as
    `kd-lab data add` chooses it. Raises LabError, in a sentence, where the source or an image in it cannot be used.
    """
    path = Path(source).expanduser()
    if not path.exists():
        raise DataError(f"there is nothing at {path}: name a folder with a folder of images for each class, or a zip")
    named = {name: value for name, value in settings.items() if name in library.Naming.model_fields}
    preparation = library.Preparation(**look(path, library.Naming(**named)).preset(path) | settings)
    name = prepare(path, preparation, storage())
    for sentence in library.card(storage(), name).sentences():
        print(sentence, file=sys.stderr)
    return load(name)
