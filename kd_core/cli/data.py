"""The commands on data sets: list, look at, add, fetch and remove."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from kd_core.base import paths as base_paths
from kd_core.base.config import LabError
from kd_core.base.process import reported
from kd_core.cli import INTERRUPTED
from kd_core.cli.options import (
    AsJson,
    Fields,
    Values,
    answer,
    console,
    full_name,
    interrupted_by_sigterm,
    notices,
    put,
    say,
    takes,
)
from kd_core.data import paths as data_paths
from kd_core.data.catalogue import DATASETS, info_of, is_own
from kd_core.data.own import library, prepare
from kd_core.data.own.look import look as look_at

Source = Annotated[Path, typer.Argument(help="A folder of class folders, or a zip of them.", exists=True)]

Renaming = Annotated[
    list[str] | None,
    typer.Option("--rename", help="FOLDER=CLASS: what a folder's class is called. Can be given several times."),
]
Settings = Annotated[str | None, typer.Option(hidden=True, help="All of these as JSON, from the app.")]
_NAMING = Fields(library.Naming, without=("rename",))


def list_data(as_json: AsJson = False) -> None:
    """List all data sets, and whether they are here."""
    if as_json:
        for name in [*DATASETS, *library.names(base_paths.storage())]:
            info = info_of(name)
            known = {"name": name, "label": str(info.label), "classes": info.classes, "image_shape": info.image_shape}
            sizes = {"train_examples": info.train_examples, "test_examples": info.test_examples}
            put(known | sizes | {"here": data_paths.available(name)})
        return
    table = Table("name", "classes", "images", "train", "test", "here")
    for name in [*DATASETS, *library.names(base_paths.storage())]:
        info = info_of(name)
        shape = "x".join(map(str, info.image_shape))
        counts = (f"{count:,}" for count in (info.train_examples, info.test_examples))
        called = f"{info.label}\n{name}" if is_own(name) else name
        table.add_row(called, f"{info.classes:,}", shape, *counts, "yes" if data_paths.available(name) else "no")
    console.print(table)


@takes(_NAMING)
def look(
    values: Values, source: Source, rename: Renaming = None, settings: Settings = None, as_json: AsJson = False
) -> None:
    """Say what lies in a folder or zip of class folders, without taking it in."""
    with reporting(as_json) as tell:
        naming = library.Naming(**values[library.Naming], rename=_renaming(rename))
        content = look_at(source, naming if settings is None else library.Naming.from_json(settings))
        tell(result=content._asdict())
        if as_json:
            return
        table = Table("class", "images", *(["of them test"] if content.test else []))
        for name, count in content.train.items():
            table.add_row(
                name, f"{count + content.test.get(name, 0):,}", *([f"{content.test[name]:,}"] if content.test else [])
            )
        console.print(table)
        least, most = ("x".join(map(str, size)) for size in (content.smallest, content.largest))
        kind = "colour" if content.colour else "grey"
        console.print(f"{kind}, {least} to {most} pixels (width and height)")
        for sentence in content.notices() + content.doubts():
            say(sentence)
        for page, folders in content.code_pages.items():
            say(f"  {page}: {', '.join(folders)}")


def _renaming(texts: list[str] | None) -> dict[str, str]:
    """FOLDER=CLASS as a mapping; a folder's name may hold '=', a class's then not."""
    pairs = [text.rpartition("=") for text in texts or []]
    wrong = next((name for folder, _, name in pairs if not folder or not name), None)
    if wrong is not None:
        raise LabError(f"--rename must be a folder and a class with '=' between, such as oak2=oak, got '{wrong[:80]}'")
    return {folder: name for folder, _, name in pairs}


@takes(Fields(library.Preparation, without=("channels", "rename")))
def add_data(
    values: Values,
    source: Source,
    grey: Annotated[bool | None, typer.Option("--grey/--colour", help="By default as the images are.")] = None,
    rename: Renaming = None,
    groups: Annotated[
        Path | None,
        typer.Option(help="A CSV of file and group: a group is kept whole on one side.", exists=True, dir_okay=False),
    ] = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Bring in a data set of your own: a folder or zip with one folder of images a class."""
    with reporting(as_json) as tell:
        if settings is None:
            given = values[library.Preparation] | {"rename": _renaming(rename)}
            named = {name: value for name, value in given.items() if name in library.Naming.model_fields}
            content = look_at(source, library.Naming(**named))
            if not as_json:
                for notice in content.notices():
                    say(notice, notices)
            chosen = {} if grey is None else {"channels": 1 if grey else 3}
            preparation = library.Preparation(**content.preset(source) | chosen | given)
        else:
            preparation = library.Preparation.from_json(settings)
        name = prepare.prepare(
            source,
            preparation,
            base_paths.storage(),
            lambda text, share: tell(text=reported(text), share=share),
            groups,
        )
        tell(result={"name": name})
        if not as_json:
            info = info_of(name)
            for sentence in library.card(base_paths.storage(), name).sentences():
                say(sentence)
            console.print(
                f"{info.label}: {info.classes:,} classes, {info.train_examples:,} images to train and"
                f" {info.test_examples:,} to test on. Use it as --dataset {library.slug_of(info.label)}",
                markup=False,
                soft_wrap=True,
            )


def fetch(dataset: Annotated[str, typer.Argument(help="Such as fashion_mnist.")], as_json: AsJson = False) -> None:
    """Download a data set, if it is not here already."""
    from kd_core.data import load

    with reporting(as_json) as tell:
        dataset = full_name(dataset)
        load.load(dataset, lambda text, share: tell(text=reported(text), share=share))
        tell(result={"name": dataset})
        if not as_json:
            console.print(f"{info_of(dataset).label} is here.")


def remove_data(
    dataset: Annotated[str, typer.Argument(help="What you called it.")],
    as_json: AsJson = False,
) -> None:
    """Delete a data set of your own. Runs that learned from it stay."""
    dataset = full_name(dataset)
    if not is_own(dataset):
        raise LabError(f"{info_of(dataset).label} is not yours: delete its folder in KD_DATA_DIR by hand")
    library.remove(base_paths.storage(), dataset)
    answer(as_json, lambda: {"removed": dataset}, f"{info_of(dataset).label} is gone")


@contextmanager
def reporting(as_json: bool) -> Iterator[Callable[..., None]]:
    """Yield a function that reports progress: JSON lines for the app, or one line for people. SIGTERM cancels."""

    def tell(**report: Any) -> None:
        check()
        if as_json and "result" in report:
            put(report)
        elif as_json:
            print(json.dumps(report), file=sys.stderr, flush=True)
        elif status is not None and "share" in report:
            status.update(f"{report['text']}: {report['share']:.0%}")

    try:
        line = nullcontext() if as_json else notices.status("Looking at it")
        with interrupted_by_sigterm() as check, line as status:
            yield tell
    except KeyboardInterrupt:
        say("stopped; nothing was kept", notices)
        raise typer.Exit(INTERRUPTED) from None
