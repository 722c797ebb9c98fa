"""A bundle: one zip file that holds one whole run, to carry it to another machine; and its records as tables.

    config.json run.json            what the run is, and how it went
    metrics.csv metrics.parquet     its step and epoch records; unpack reads the CSV alone
    probes.json                     what it said of the probe images as it learned
    weights.safetensors logits.safetensors card.json     as kd_core.runs.artifacts leaves them
    README.md                       a model card

A bundle may come from anybody, so unpack believes nothing: it checks every member before it touches store or disk,
counts anew what can be counted, and opens no format that could run code. No torch until a bundle is made or opened.
"""

import contextlib
import csv
import dataclasses
import hashlib
import io
import json
import math
import re
import time
import zipfile
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeVar, cast

import numpy as np
import pandas as pd
from pydantic import Field

from kd_core.base.archive import Archive, FlawError, expect, oddities
from kd_core.base.config import Config, ConfigError, LabError
from kd_core.base.files import SaveError, claim, disk_problem, is_file, read_bytes, remove_folder, write_atomic
from kd_core.base.templates import Said, said, said_by
from kd_core.data.catalogue import info_of, probed_classes
from kd_core.data.paths import available
from kd_core.evaluation.accuracy import test_errors
from kd_core.exchange.model_card import model_card
from kd_core.models.architectures import own
from kd_core.runs.run import MAX_NAME, MAX_NOTE, MAX_TAG, MAX_TAGS, RECORD_COLUMNS, Results, Run, StoreError, new_id
from kd_core.runs.store import Store
from kd_core.training.config import RunConfig, split_of
from kd_core.training.records import RecordRow

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMAT = 1
WEIGHTS, LOGITS = "weights.safetensors", "logits.safetensors"
JSON_BYTES = {"config.json": 1_000_000, "run.json": 1_000_000, "card.json": 1_000_000, "probes.json": 30_000_000}
TEXT_BYTES = {**JSON_BYTES, "metrics.csv": 100_000_000, "README.md": 1_000_000}
"""The most that each may have."""
MEMBERS = (*JSON_BYTES, "metrics.csv", "metrics.parquet", WEIGHTS, LOGITS, "README.md")
UNREAD = "metrics.parquet"
"""For other programs: the CSV says the same."""
MAX_BYTES = 500_000_000
"""Of a bundle, before and after it is unpacked."""
MOST_PACKED = 100
"""How many times as large a member may become. Numbers of a run become ten times as large at most."""
MAX_DIRECTORY_BYTES, MAX_TENSOR_NAMES_BYTES, MAX_LINE = 10_000, 1_000_000, 1000
MAX_RECORDS = 300_000
MAX_PROBED = 5_000_000
"""Numbers in probes.json: as Python holds them they take several times their text."""
RECOMPUTED_IMAGES = 64
TOLERANCE = 1e-2
"""By how much, and by what share, logits may differ between two machines."""
DAY_SECONDS = 86_400


class BundleError(LabError):
    """A bundle that cannot be made or taken in; one sentence says why and what to do."""


# -------------------------------------------------------------------------------------------------------- tables


def metrics(store: Store, run_id: str) -> pd.DataFrame:
    """All records of a run in order of step, one a row, with columns RECORD_COLUMNS.

    What a record has not is missing, and so is a loss that overflowed. Raises StoreError where there is no such run.
    """
    store.get(run_id)
    records = [*store.records(run_id, "step"), *store.records(run_id, "epoch")]
    kinds: dict[str, Any] = {"step": "int64", "kind": "str", "validation_errors": "Int64", "best": "boolean"}
    table = pd.DataFrame(records, columns=list(RECORD_COLUMNS))
    table = table.astype({name: kinds.get(name, "float64") for name in RECORD_COLUMNS})
    return table.replace([np.inf, -np.inf], np.nan).sort_values("step", kind="stable", ignore_index=True)


def metrics_csv(store: Store, run_id: str) -> bytes:
    """The table of metrics as CSV: numbers to their last bit, what is missing left empty."""
    return metrics(store, run_id).to_csv(index=False, lineterminator="\n").encode()


def metrics_parquet(store: Store, run_id: str) -> bytes:
    """The table of metrics as Parquet."""
    return metrics(store, run_id).to_parquet(index=False)


# ----------------------------------------------------------------------------------------- what its members may say

_Text = Annotated[str, Field(max_length=200)]
_Count = Annotated[int, Field(ge=0, le=2**53, strict=True)]
_Real = Annotated[float, Field(strict=True)]
_Amount = Annotated[float, Field(ge=0, strict=True)]


class _Results(Config):
    """As kd_core.runs.artifacts.save_results returns them."""

    test_errors: _Count
    test_examples: Annotated[_Count, Field(ge=1)]
    validation_errors: _Count | None
    validation_examples: _Count
    epochs: _Amount
    classes: _Count
    parameters: _Count
    size_bytes: _Count
    multiply_adds: _Count


class _Facts(Config):
    """run.json."""

    bundle_format: Literal[1]
    id: str
    batch: str
    created_at: _Amount
    started_at: _Amount | None
    ended_at: _Amount | None
    status: Literal["finished", "stopped"]
    name: str = Field(max_length=MAX_NAME)
    note: str = Field(max_length=MAX_NOTE)
    tags: tuple[Annotated[str, Field(min_length=1, max_length=MAX_TAG)], ...] = Field(max_length=MAX_TAGS)
    step: _Count
    total_steps: _Count
    environment: dict[_Text, _Text | bool | _Count | _Real | None] = Field(max_length=50)
    results: _Results


class _Input(Config):
    shape: tuple[_Count, _Count, _Count]
    mean: _Real
    std: Annotated[_Real, Field(gt=0)]


class _Card(Config):
    """card.json, as kd_core.runs.artifacts.save_results writes it."""

    config: RunConfig
    input: _Input
    class_names: tuple[_Text, ...]
    results: _Results
    torch: _Text
    device: _Text
    precision: _Text
    weights_sha256: str
    logits_sha256: str


class _Probe(Config):
    epoch: _Count
    logits: list[list[_Real]]


class _Probes(Config):
    probes: list[_Probe]


class _Record(Config):
    """A row of metrics.csv, from text."""

    step: int = Field(ge=1, le=2**53)
    kind: Literal["step", "epoch"]
    epoch: float = Field(ge=0)
    loss: float | None
    soft_loss: float | None
    hard_loss: float | None
    learning_rate: float | None
    samples_per_second: float | None
    validation_errors: int | None = Field(ge=0, le=2**53)
    validation_accuracy: float | None
    best: bool | None
    seconds: float | None


# ------------------------------------------------------------------------------------------------------- packing


def pack(store: Store, run_id: str) -> bytes:
    """One run as a zip file.

    Raises StoreError where there is no such run, BundleError where it has not ended, left no weights or diverged,
    SaveError where a file of it is missing.
    """
    run, folder = store.get(run_id), store.folder(run_id)
    _check_packable(run)
    from kd_core.runs import artifacts

    with contextlib.suppress(SaveError):  # what is damaged reads so below
        artifacts.test_logits(store.folder(run_id))  # made now, where the weights came without
    facts = {name: getattr(run, name) for name in _Facts.model_fields if name != "bundle_format"}
    probes = [
        {"epoch": epoch, "logits": logits}
        for epoch, logits in store.probes(run_id)
        if np.isfinite(logits).all()  # a run that went astray for a while has epochs without numbers
    ]
    try:
        members = {
            "config.json": run.config.model_dump_json(indent=2).encode(),
            "run.json": json.dumps({"bundle_format": FORMAT, **facts}, indent=2).encode(),
            "card.json": read_bytes(folder.card),
            "probes.json": json.dumps({"probes": probes}).encode(),
            "metrics.csv": metrics_csv(store, run_id),
            "metrics.parquet": metrics_parquet(store, run_id),
            WEIGHTS: read_bytes(folder.weights),
            LOGITS: read_bytes(folder.logits),
        }
        _check_sizes({name: len(content) for name, content in members.items()})
        checked = _checked(members)
    except OSError as error:
        raise SaveError(said("{file} is missing or cannot be read: run it again.", file=error.filename)) from error
    except FlawError as flaw:
        raise BundleError(
            said("{run} cannot be packed, because {flaw}: run it again.", run=run.label, flaw=said_by(flaw))
        ) from flaw
    members["README.md"] = model_card(
        dataclasses.replace(run, results=cast(Results, checked.card.results.model_dump())),
        image_shape=checked.card.input.shape,
        class_names=checked.card.class_names,
        mean=checked.card.input.mean,
        std=checked.card.input.std,
        layers="" if checked.model is None else str(checked.model),
    ).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in MEMBERS:
            entry = zipfile.ZipInfo(name)  # of no date: the same run gives the same bytes, which a server keeps once
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, members[name])
    return buffer.getvalue()


def _check_packable(run: Run) -> None:
    if run.status not in ("finished", "stopped"):
        status = said(run.status)
        raise BundleError(
            said("{run} is {status}: let it end, or stop it, then pack it.", run=run.label, status=status)
        )
    if not run.usable:
        raise BundleError(
            said("{run} left no weights, so there is nothing to carry away: run it again.", run=run.label)
        )
    if run.config.model.opaque:
        raise BundleError(
            said("{run} is a black box: take the file that it was brought as, and bring that anew.", run=run.label)
        )


# ----------------------------------------------------------------------------------------------------- unpacking


def unpack(store: Store, content: bytes, *, browser: str = "") -> str:
    """Take in the run of a bundle, and return its id: its own, or a new one where another or a deleted run has that.

    browser: on whose behalf. Nothing is written before all is checked, and nothing stays where the disk or the store
    gives out half way. Raises BundleError where the bundle is flawed or its run is here already; SaveError, StoreError
    and DatasetError for this machine's troubles.
    """
    try:
        members = _members(content)
        bundle = _checked(members)
        _check_against_data(bundle)
    except FlawError as flaw:
        raise BundleError(
            said(
                "This bundle cannot be used, because {flaw}: pack its run again where it was trained, with this version"
                " of KD Lab.",
                flaw=_plain(said_by(flaw)),
            )
        ) from flaw
    facts, card = bundle.facts, bundle.card
    run = Run(
        **facts.model_dump(exclude={"bundle_format", "id", "results"}),
        id=_claim(store, facts.id, card.config, members[WEIGHTS]),
        config=card.config,
        results=cast(Results, card.results.model_dump()),
        browser=browser,
        attempt=1,
    )
    folder = store.folder(run.id)
    try:
        write_atomic(folder.config, card.config.model_dump_json(indent=2).encode())
        write_atomic(folder.weights, members[WEIGHTS])
        write_atomic(folder.logits, members[LOGITS])
        write_atomic(folder.card, card.model_dump_json(indent=2).encode())
        store.adopt(run, _records(members), [(probe.epoch, probe.logits) for probe in bundle.probes])
    except BaseException:
        remove_folder(folder.path)
        raise
    return run.id


def _plain(flaw: str) -> str:
    """A flaw without Markdown: what it quotes may be anything, and pages read that."""
    if isinstance(flaw, Said) and flaw.values:
        values = {name: _plain(value) if isinstance(value, str) else value for name, value in flaw.values.items()}
        return Said(flaw.template, flaw.many, **values)
    plain = re.sub(r"[^\w .,:;'()/=+-]", "?", flaw)
    return flaw if plain == flaw else plain


def _claim(store: Store, run_id: str, config: RunConfig, weights: bytes) -> str:
    """An id with an empty folder that is nobody else's: the run's own, or a new one where that is taken."""
    path = store.folder(run_id).path
    candidates = [run_id, new_id()]
    with contextlib.suppress(StoreError, ConfigError):  # nobody's, or a run that this version cannot read
        here = store.get(run_id)
        candidates.remove(run_id)
        if here.config == config and is_file(path / WEIGHTS) and read_bytes(path / WEIGHTS) == weights:
            raise BundleError(said("This run is here already, as {run}: there is nothing to take in.", run=here.label))
    try:
        for candidate in candidates:
            if claim(path.with_name(candidate), "config.json"):
                return candidate
    except OSError as error:
        raise SaveError(disk_problem(error, path.parent)) from error
    raise SaveError(said("{folder} has no room for another run: try again.", folder=path.parent))


# ------------------------------------------------------------------------------------------------------ checking


def _members(content: bytes) -> dict[str, bytes]:
    """The members of a zip file: just MEMBERS, MAX_BYTES together."""
    expect(len(content) <= MAX_BYTES, said("it is larger than {megabytes} MB", megabytes=MAX_BYTES // 10**6))
    end = content[-22:]  # of the directory: zipfile would read one of a million entries before they could be counted
    plain = end.startswith(b"PK\5\6") and end.endswith(b"\0\0") and content[-42:-38] != b"PK\6\7"
    small = int.from_bytes(end[12:16], "little") <= MAX_DIRECTORY_BYTES
    expect(plain and small, said("it is no zip file as KD Lab writes it"))
    archive = Archive(content)
    for entry in archive.entries:
        name = entry.orig_filename
        expect(name in MEMBERS, said("it holds {name}, which is no part of a bundle", name=repr(name[:80])))
        for oddity in oddities(entry):
            raise FlawError(said(_ODD[oddity], name=name))
    archive.check_unique()
    for name in MEMBERS:
        expect(name in archive.sizes, said("it holds no {name}", name=name))
    _check_sizes(archive.sizes)
    for entry in archive.entries:
        plausible = entry.file_size <= 1_000_000 + MOST_PACKED * entry.compress_size
        inflated = said("its {name} unpacks to over {count} times its size", name=entry.filename, count=MOST_PACKED)
        expect(plausible, inflated)
    return {name: archive.read(name, MAX_BYTES) for name in archive.sizes if name != UNREAD}


_ODD = {
    "link": said("its {name} is a link"),
    "password": said("its {name} is encrypted"),
    "packing": said("its {name} is packed in a way of its own"),
    "path": said("its {name} leads out of it"),
}


def _check_sizes(sizes: Mapping[str, int]) -> None:
    for name, size in sizes.items():
        expect(size <= TEXT_BYTES.get(name, MAX_BYTES), said("its {name} is too large", name=name))
    expect(sum(sizes.values()) <= MAX_BYTES, said("it unpacks to over {megabytes:,} MB", megabytes=MAX_BYTES // 10**6))


class _Bundle(NamedTuple):
    """A bundle whose parts fit together; card.results hold the costs as counted here.

    model: None where it is of own code that is not here as it was: then its costs are as the bundle has them.
    """

    facts: _Facts
    card: _Card
    probes: list[_Probe]
    logits: dict[str, "Tensor"]
    model: "nn.Module | None"


def _checked(members: Mapping[str, bytes]) -> _Bundle:
    """Everything that a bundle says, checked against itself."""
    from kd_core.evaluation import speed
    from kd_core.models import build
    from kd_core.models import pixels as models_pixels

    config, facts = _json(RunConfig, members, "config.json"), _json(_Facts, members, "run.json")
    card, info = _json(_Card, members, "card.json"), info_of(config.dataset)
    rows = [info.classes] * 2 * len(probed_classes(info.classes))
    numbers = (1 + sum(rows)) * (1 + config.training.epochs)  # with that of each epoch
    expect(
        members["probes.json"].count(b",") <= min(numbers, MAX_PROBED),
        said("its probes.json holds more than its run said"),
    )
    probes = _json(_Probes, members, "probes.json").probes
    expect(not config.model.opaque, said("it holds a black box, which comes as a file of its own"))
    _check_facts(facts, config, card)
    for name, written in ((WEIGHTS, card.weights_sha256), (LOGITS, card.logits_sha256)):
        same = hashlib.sha256(members[name]).hexdigest() == written
        expect(same, said("its {name} was changed after its card.json was written", name=name))
    expect(len({probe.epoch for probe in probes}) == len(probes), said("its probes.json holds an epoch twice"))
    other_shape = said(
        "its probes.json holds logits of another shape than ({rows}, {classes})", rows=len(rows), classes=info.classes
    )
    for probe in probes:
        expect([len(row) for row in probe.logits] == rows, other_shape)
    goes_on = said("its metrics.csv goes on after step {step}", step=facts.total_steps)
    for record in _records(members):
        expect(record["step"] <= facts.total_steps, goes_on)

    weights, logits = _tensors(members, WEIGHTS), _tensors(members, LOGITS)
    model = None
    if not (config.model.own and own.notice(config.model.name)):
        shape = config.brought.reads(info.image_shape) if config.brought else info.image_shape
        model = build.blueprint(config.model, shape, info.classes)
        models_pixels.expecting(model, config.model, config.brought, mean=card.input.mean, std=card.input.std)
        card = card.replace(results=card.results.replace(**speed.costs(model, info.image_shape)))
        expect(
            _shapes(weights) == _shapes(model.state_dict()),
            said("its weights are not those of {model}", model=config.model.label),
        )
        model.load_state_dict(weights, assign=True)
        model.eval()
    sizes = {"test": card.results.test_examples}
    if config.role == "teacher" and "train" in logits:  # one that came as weights alone has none
        sizes["train"] = info.train_examples
    if "validation" in logits:  # runs of before this was kept have none
        sizes["validation"] = card.results.validation_examples
        expect(sizes["validation"] > 0, said("it holds logits of a validation split, and tells of none"))
    fitting = {name: f"torch.float32 ({size}, {info.classes})" for name, size in sizes.items()}
    expect(
        _shapes(logits) == fitting,
        said("its logits are not those of a {role} on {data}", role=said(config.role), data=info.label),
    )
    return _Bundle(facts, card, probes, logits, model)


_Parsed = TypeVar("_Parsed", bound=Config)


def _json(kind: type[_Parsed], members: Mapping[str, bytes], name: str) -> _Parsed:
    try:
        return kind.from_json(members[name].decode())
    except ValueError as error:  # not UTF-8, or a ConfigError
        raise FlawError(said("its {name} is not as it should be ({why})", name=name, why=_first(error))) from error


def _check_facts(facts: _Facts, config: RunConfig, card: _Card) -> None:
    """run.json, config.json and card.json tell one story, and a possible one."""
    info, results = info_of(config.dataset), card.results
    expect(card.config == config, said("its card.json tells of another config than its config.json"))
    expect(results == facts.results, said("its card.json tells of other results than its run.json"))
    named = [facts.id, facts.batch, *(config.distillation.teachers if config.distillation else ())]
    named += [] if config.continues is None else [config.continues]
    expect(all(re.fullmatch(r"[0-9A-Za-z]{1,40}", name) for name in named), said("it names a run by what is no id"))
    newest = max(facts.created_at, facts.started_at or 0, facts.ended_at or 0)
    expect(newest < time.time() + DAY_SECONDS, said("it comes from the future, by the clock of this machine"))
    expect(facts.step <= facts.total_steps, said("it says that it took more steps than it had"))
    expect(results.epochs <= config.training.epochs, said("it says that it took more epochs than it had"))
    possible = results.test_errors <= results.test_examples
    possible &= (results.validation_errors or 0) <= results.validation_examples
    possible &= (results.validation_errors is None) == (results.validation_examples == 0)
    expect(possible, said("it counts more errors than images, or none where there are images"))
    there = said(
        "it tells of other test images than the {count:,} of {data}", count=info.test_examples, data=info.label
    )
    expect(results.test_examples == info.test_examples, there)
    sizes = (results.classes, len(card.class_names), card.input.shape)
    here = (info.classes, info.classes, info.image_shape)
    expect(sizes == here, said("its classes or images are not {data}'s", data=info.label))


def _records(members: Mapping[str, bytes]) -> Iterator[RecordRow]:
    """The rows of metrics.csv as Store.records gives them, in order of step, each checked as it is read."""
    text = io.TextIOWrapper(io.BytesIO(members["metrics.csv"]), "utf-8", newline="\n")
    rows = csv.reader(iter(lambda: text.readline(MAX_LINE), ""), quoting=csv.QUOTE_NONE)
    last, line = {"step": 0, "epoch": 0}, 1
    too_many = said("its metrics.csv holds more than {count:,} records", count=MAX_RECORDS)
    try:
        expect(next(rows, None) == list(RECORD_COLUMNS), said("its metrics.csv has another heading"))
        for line, cells in enumerate(rows, 2):
            expect(line <= MAX_RECORDS + 1, too_many)
            if len(cells) != len(RECORD_COLUMNS):
                raise ValueError(said("{count} cells", count=len(cells)))
            cells_by_name = zip(RECORD_COLUMNS, cells, strict=True)
            record = _Record(**{name: cell or None for name, cell in cells_by_name}).model_dump()
            if record["step"] <= last[record["kind"]]:
                raise ValueError(said("its step does not follow"))
            last[record["kind"]] = record["step"]
            if record["kind"] == "epoch":
                if record["best"] is None or record["seconds"] is None or record["epoch"] % 1:
                    raise ValueError(said("half an epoch"))
                record["epoch"] = int(record["epoch"])
            yield cast(RecordRow, record)
    except (ValueError, csv.Error) as error:
        why = _first(error)
        raise FlawError(said("its metrics.csv has no record in line {line} ({why})", line=line, why=why)) from error


def _first(error: Exception) -> str:
    text = said_by(error)
    while isinstance(text, Said) and text.template == "{first}; {next}":  # as kd_core.base.config joins clauses
        text = cast(str, text.values["first"])
    short = str(text).partition("; ")[0][:200]
    return text if text == short else short


def _tensors(members: Mapping[str, bytes], name: str) -> dict[str, "Tensor"]:
    import safetensors.torch

    try:
        if int.from_bytes(members[name][:8], "little") > MAX_TENSOR_NAMES_BYTES:
            raise ValueError("more names than any model has")
        tensors = safetensors.torch.load(members[name])
        finite = all(bool(tensor.isfinite().all()) for tensor in tensors.values())
    except Exception as error:  # made-up content can raise nearly anything; none of it runs
        raise FlawError(said("its {name} is no safetensors file as KD Lab writes it", name=name)) from error
    expect(finite, said("its {name} holds what is not finite", name=name))
    return tensors


def _shapes(tensors: Mapping[str, "Tensor"]) -> dict[str, str]:
    return {name: f"{tensor.dtype} {tuple(tensor.shape)}" for name, tensor in tensors.items()}


def _check_against_data(bundle: _Bundle) -> None:
    """Where the data set is here: count the test errors anew, and ask the weights of some images again."""
    card, logits, name = bundle.card, bundle.logits, bundle.card.config.dataset
    if not available(name):
        return
    import torch

    from kd_core.data import load
    from kd_core.models import build

    dataset = load.load(name)
    errors = test_errors(logits["test"].numpy(), dataset.test_labels.numpy())
    others = said("its logits make {count:,} test errors, and it tells of others", count=errors)
    expect(card.results.test_errors == errors, others)
    pixels = [(card.input.mean, dataset.mean), (card.input.std, dataset.std)]
    alike = all(math.isclose(*pair, rel_tol=1e-4) for pair in pixels) and card.class_names == dataset.class_names
    expect(alike, said("its card.json tells of other pixels or class names than {data} has", data=name))
    images = {"test": dataset.test_images, "train": dataset.train_images}
    if "validation" in logits:
        try:
            chosen_by = split_of(dataset, card.config)[1]
        except ConfigError as error:
            raise FlawError(said("its transfer set holds no image")) from error
        expect(
            len(chosen_by) == len(logits["validation"]),
            said("it tells of another validation split than its config's"),
        )
        images["validation"] = dataset.train_images[chosen_by[:RECOMPUTED_IMAGES]]
    for part, shown in images.items():
        if part in logits and bundle.model is not None:
            fresh = build.logits_of(bundle.model, shown[:RECOMPUTED_IMAGES], dataset.normalise)
            alike = torch.allclose(fresh, logits[part][:RECOMPUTED_IMAGES], rtol=TOLERANCE, atol=TOLERANCE)
            expect(
                alike, said("its weights give other logits of {part} images than its {file}", part=part, file=LOGITS)
            )
