"""Bundles carry a run to another machine whole; whatever else calls itself one is refused before it does anything."""

import errno
import hashlib
import io
import json
import math
import os
import pickle
import random
import re
import shutil
import stat
import warnings
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
import safetensors.torch
import torch
from tiny import tiny_config, train_here

from kd_core.base import archive as base_archive
from kd_core.base.files import SaveError
from kd_core.data.catalogue import TransferSetConfig
from kd_core.evaluation import calibration
from kd_core.exchange import bundle as exchange_bundle
from kd_core.exchange.bundle import BundleError, pack, unpack
from kd_core.exchange.model_card import model_card
from kd_core.runs import artifacts, reading
from kd_core.runs import run as runs_run
from kd_core.runs.run import StoreError, new_id
from kd_core.runs.store import Store

WEIGHTS, LOGITS = "weights.safetensors", "logits.safetensors"


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """Another machine's store, a teacher and its student in it, and their bundles."""
    store = Store(tmp_path_factory.mktemp("there"))
    teacher = train_here(store, tiny_config())
    student = train_here(store, tiny_config("distilled", teachers=(teacher,), seed=1))
    store.describe(student, name="Pupil | <b>", note="Sees {all} of it.", tags=["first", "ünïcode"])
    yield SimpleNamespace(
        store=store, teacher=teacher, student=student, of_teacher=pack(store, teacher), of_student=pack(store, student)
    )
    store.close()


def members_of(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(members, kind=zipfile.ZIP_DEFLATED):
    """A zip file of (name or ZipInfo, content) pairs."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names that stand twice
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def sealed(members):
    """The card made to fit weights and logits, as somebody who forges a bundle would."""
    card = json.loads(members["card.json"])
    for name in ("weights", "logits"):
        card[f"{name}_sha256"] = hashlib.sha256(members[f"{name}.safetensors"]).hexdigest()
    members["card.json"] = json.dumps(card).encode()


def changed(content, **changes):
    """A bundle with members replaced, or changed by a function; dots in names are written as two underscores."""
    members = members_of(content)
    for name, change in changes.items():
        member = name.replace("__", ".")
        members[member] = change(members[member]) if callable(change) else change
    return zipped(members.items())


def forged(content, **changes):
    members = members_of(changed(content, **changes))
    sealed(members)
    return zipped(members.items())


def with_json(path, value):
    """A change of one value in JSON, named by its keys with dots between; the value ... takes the key away."""

    def change(content):
        whole = json.loads(content)
        *outer, last = path.split(".")
        inner = whole
        for key in outer:
            inner = inner[key]
        if value is ...:
            del inner[last]
        else:
            inner[last] = value
        return json.dumps(whole).encode()

    return change


def with_tensors(change):
    def apply(content):
        tensors = safetensors.torch.load(content)
        change(tensors)
        return safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()})

    return apply


def with_lines(change):
    def apply(content):
        lines = content.decode().splitlines()
        return "\n".join([*change(lines), ""]).encode()

    return apply


def with_cell(line, column, text):
    def change(lines):
        cells = lines[line].split(",")
        cells[runs_run.RECORD_COLUMNS.index(column)] = text
        return [*lines[:line], ",".join(cells), *lines[line + 1 :]]

    return with_lines(change)


def refused(store, content, match="it"):
    """Assert that a bundle is refused in one sentence, and that nothing was written and no row entered."""
    before = files_of(store)
    with pytest.raises(BundleError, match=match) as caught:
        unpack(store, content)
    sentence = str(caught.value)
    assert sentence.startswith("This bundle cannot be used, because it")
    assert sentence.endswith(": pack its run again where it was trained, with this version of KD Lab.")
    assert "\n" not in sentence
    assert len(sentence) < 400
    assert store.runs() == []
    assert store._rows("SELECT * FROM records") == store._rows("SELECT * FROM probes") == []
    assert files_of(store) == before


def files_of(store):
    return sorted(str(path) for path in store.home.rglob("*") if not path.name.startswith("lab.sqlite"))


# ---------------------------------------------------------------------------------------------------- the round trip


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_a_run_arrives_as_it_left(store, there, role):
    run_id = getattr(there, role)
    assert unpack(store, getattr(there, f"of_{role}"), browser="mine") == run_id
    assert store.get(run_id) == replace(there.store.get(run_id), browser="mine")
    for kind in ("step", "epoch"):
        arrived, left = store.records(run_id, kind), there.store.records(run_id, kind)
        assert arrived == left != []
        assert [[type(value) for value in record.values()] for record in arrived] == [
            [type(value) for value in record.values()] for record in left
        ]
    assert store.probes(run_id) == there.store.probes(run_id) != []
    steps = "SELECT epoch, step FROM probes WHERE run_id = ?"
    assert [tuple(row) for row in store._rows(steps, run_id)] == [
        tuple(row) for row in there.store._rows(steps, run_id)
    ]
    here, away = store.folder(run_id), there.store.folder(run_id)
    for name in ("weights", "logits"):
        assert getattr(here, name).read_bytes() == getattr(away, name).read_bytes()
    for name in ("config", "card"):
        assert json.loads(getattr(here, name).read_bytes()) == json.loads(getattr(away, name).read_bytes())
    assert pack(store, run_id)


def test_long_curves_of_a_run_arrive_too(store, there, monkeypatch):
    unpack(store, there.of_student)
    monkeypatch.setattr(reading, "MANY_RECORDS", 3)
    for part in runs_run.PARTS:
        assert store.curve(there.student, part) == there.store.curve(there.student, part) != []


def test_a_teacher_from_elsewhere_teaches_here(store, there, digits):
    teacher = unpack(store, there.of_teacher)
    assert artifacts.training_logits([store.folder(teacher)], "digits") is not None
    model = artifacts.load_model(store.folder(teacher), digits)
    expected = artifacts.load_model(there.store.folder(teacher), digits).state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())
    student = train_here(store, tiny_config("distilled", teachers=(teacher,), seed=1))
    assert store.get(student).results == there.store.get(there.student).results


def test_a_student_arrives_without_its_teacher_and_knows_its_name(store, there):
    assert store.get(unpack(store, there.of_student)).config.distillation.teachers == (there.teacher,)


def test_a_stopped_run_arrives_stopped(store, tmp_path):
    elsewhere = Store(tmp_path / "elsewhere")
    seen = []
    run_id = train_here(
        elsewhere,
        tiny_config(epochs=50),
        requested=lambda: "stop" if len(seen) > 25 else None,
        on_event=seen.append,
    )
    assert unpack(store, pack(elsewhere, run_id)) == run_id
    assert store.get(run_id) == elsewhere.get(run_id)
    assert store.get(run_id).status == "stopped"
    elsewhere.close()


def test_where_a_run_is_here_already_it_is_said(store, there):
    unpack(store, there.of_student)
    before = files_of(store)
    with pytest.raises(
        BundleError, match=r"^This run is here already, as Pupil \| <b>: there is nothing to take in\.$"
    ):
        unpack(store, there.of_student)
    assert len(store.runs()) == 1
    assert files_of(store) == before


def test_an_id_that_another_run_has_is_left_to_it(store, there):
    other = tiny_config(seed=5)
    store.create({there.student: other})
    run_id = unpack(store, there.of_student)
    assert run_id != there.student
    assert store.get(there.student).config == other
    assert store.get(run_id).results == there.store.get(there.student).results
    assert store.records(run_id, "step") == there.store.records(there.student, "step")


def test_an_altered_bundle_does_not_keep_the_genuine_one_out(store, there):
    def of_another_rate(content):
        values = json.loads(content)
        values.get("config", values)["training"]["learning_rate"] = 0.75
        return json.dumps(values).encode()

    altered = unpack(store, changed(there.of_student, config__json=of_another_rate, card__json=of_another_rate))
    assert store.get(altered).config.training.learning_rate == 0.75
    genuine = unpack(store, there.of_student)
    assert store.get(genuine).config == there.store.get(there.student).config


def test_a_deleted_run_keeps_its_id_and_can_come_back_as_another(store, there):
    first = unpack(store, there.of_student)
    store.delete(first)
    second = unpack(store, there.of_student)
    assert second != first
    assert [run.id for run in store.runs()] == [second]
    assert store.purge(days=0) == [first]
    assert store.folder(second).weights.exists()


def test_an_id_whose_run_this_version_cannot_read_is_left_to_it(store, there):
    store.create({there.student: tiny_config()})
    store._database.execute('UPDATE runs SET config = \'{"role": "teacher", "newer": 1}\'')
    run_id = unpack(store, there.of_student)
    assert [run.id for run in store.runs()] == [run_id] != [there.student]


def test_a_run_whose_files_were_removed_keeps_its_id(store, there):
    store.create({there.student: tiny_config()})
    shutil.rmtree(store.home / "runs")
    assert unpack(store, there.of_student) != there.student
    assert len(store.runs()) == 2


def test_a_folder_that_somebody_else_is_filling_is_left_to_them(store, there):
    theirs = store.folder(there.student)
    theirs.path.mkdir(parents=True)
    run_id = unpack(store, there.of_student)
    assert run_id != there.student
    assert list(theirs.path.iterdir()) == []


# ------------------------------------------------------------------------------------------------------------ tables


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables_read_back_as_the_store_has_the_records(there, kind):
    if kind == "csv":
        table = pd.read_csv(io.BytesIO(exchange_bundle.metrics_csv(there.store, there.teacher)))
    else:
        table = pd.read_parquet(io.BytesIO(exchange_bundle.metrics_parquet(there.store, there.teacher)))
    assert list(table.columns) == list(runs_run.RECORD_COLUMNS)
    assert list(table["step"]) == sorted(table["step"])
    for kind in ("step", "epoch"):
        rows = table[table["kind"] == kind].astype(object)
        assert rows.where(rows.notna(), None).to_dict("records") == there.store.records(there.teacher, kind)


def test_the_bundle_holds_the_same_tables(there):
    members = members_of(there.of_student)
    assert members["metrics.csv"] == exchange_bundle.metrics_csv(there.store, there.student)
    table = pd.read_parquet(io.BytesIO(members["metrics.parquet"]))
    assert table.equals(exchange_bundle.metrics(there.store, there.student))


def test_a_run_without_records_has_an_empty_table(store):
    store.create({"abc": tiny_config()})
    assert exchange_bundle.metrics_csv(store, "abc").decode() == ",".join(runs_run.RECORD_COLUMNS) + "\n"
    assert len(pd.read_parquet(io.BytesIO(exchange_bundle.metrics_parquet(store, "abc")))) == 0


def test_a_loss_that_overflowed_is_missing(store):
    store.create({"abc": tiny_config()})
    store.apply("abc", {"kind": "step", "step": 1, "epoch": 0.5, "loss": math.inf, "soft_loss": math.nan})
    assert exchange_bundle.metrics(store, "abc")[["loss", "soft_loss"]].isna().all(axis=None)


@pytest.mark.parametrize(
    "call", [pack, exchange_bundle.metrics, exchange_bundle.metrics_csv, exchange_bundle.metrics_parquet]
)
def test_an_unknown_run_is_said_in_words(store, call):
    with pytest.raises(StoreError, match="there is no run 'abc'"):
        call(store, "abc")


# ------------------------------------------------------------------------------------------------------- the model card


def test_the_model_card_says_what_the_model_is(there):
    text = members_of(there.of_student)["README.md"].decode()
    assert text.startswith("---\nlibrary_name: pytorch\n")
    results = there.store.get(there.student).results
    for fact in (
        "- distilled\n---\n\n# Pupil | <b>\n",
        "Sees {all} of it.",
        "Tags: first, ünïcode",
        "| size_bytes | 50,920 |",
        f"| test errors | {results['test_errors']} of 445, {results['test_errors'] / 445:.2%} |",
        "| 95% Wilson interval |",
        "`loss = alpha*T^2*KL(p_t || p_s) + (1-alpha)*CE`",
        "T = 2 and alpha = 0.9",
        f"Taught by run {there.teacher}.",
        "Transfer set: 100.00% of the training images of all classes, with their labels.",
        "| torch | ",
    ):
        assert fact in text
    assert "## Distillation" not in members_of(there.of_teacher)["README.md"].decode()


def test_the_model_card_names_another_objective_with_its_source_and_numbers(there):
    run = there.store.get(there.student)
    distillation = run.config.distillation.replace(objective="dkd", weights={"nontarget": 4})
    text = model_card(
        replace(run, config=run.config.replace(distillation=distillation)),
        image_shape=(1, 28, 28), class_names=tuple("0123456789"), mean=0.1, std=0.3, layers="layer",
    )  # fmt: skip
    assert "`loss = soft + hard*CE`" in text
    assert "temperature T = 2 and hard = 1 and target = 1 and nontarget = 4" in text
    assert "arXiv:2203.08679" in text
    distillation = run.config.distillation.replace(objective="jensen_shannon", final_temperature=1)
    text = model_card(
        replace(run, config=run.config.replace(distillation=distillation)),
        image_shape=(1, 28, 28), class_names=tuple("0123456789"), mean=0.1, std=0.3, layers="layer",
    )  # fmt: skip
    assert "`loss = alpha*soft + (1-alpha)*CE`" in text
    assert "T = 2 at the first step, 1 at the last and alpha = 0.9 and beta = 0.5" in text


def test_the_model_card_tells_of_a_part_of_the_labels_no_labels_and_a_start(there):
    config = there.store.get(there.student).config
    part = TransferSetConfig(fraction=0.03, only_classes=(7, 8), labelled=False)
    distillation = config.distillation.replace(alpha=1, t_squared=False, teachers=("a1", "b2"))
    config = config.replace(transfer_set=part, distillation=distillation, continues="c3")
    run = replace(there.store.get(there.student), config=config, name="")
    shown = {"image_shape": (1, 28, 28), "class_names": tuple("0123456789"), "mean": 0.1, "std": 0.3}
    text = model_card(run, **shown, layers="layer\n" * 99)
    assert "Transfer set: 3.00% of the training images of classes 7 and 8, without any label." in text
    assert "CLASS_NAMES = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']" in text
    assert "`loss = alpha*KL(p_t || p_s) + (1-alpha)*CE`" in text
    assert "Taught by run a1, b2, the mean of their probabilities." in text
    assert "started from the weights of run c3." in text
    assert "against the teacher's top classes" in text
    assert "Its layers are those of mlp 16." in text


def test_the_code_on_the_model_card_gives_the_logits_in_the_bundle(there, digits, tmp_path, monkeypatch):
    with zipfile.ZipFile(io.BytesIO(there.of_student)) as archive:
        archive.extractall(tmp_path)
    monkeypatch.chdir(tmp_path)
    names = {}
    code = re.search(r"```python\n(.*?)```", (tmp_path / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    exec(compile(code, "README.md", "exec"), names)
    with torch.no_grad():
        logits = names["logits"](digits.test_images)
    torch.testing.assert_close(logits, safetensors.torch.load_file(tmp_path / LOGITS)["test"], rtol=1e-4, atol=1e-4)


# ----------------------------------------------------------------------------------------------- what cannot be packed


@pytest.mark.parametrize("status", ["queued", "running", "paused", "failed", "interrupted"])
def test_a_run_that_has_not_ended_is_not_packed(there, store, status):
    unpack(store, there.of_student)
    store._database.execute("UPDATE runs SET status = ?", (status,))
    with pytest.raises(BundleError, match=rf"^Pupil \| <b> is {status}: let it end, or stop it, then pack it\.$"):
        pack(store, there.student)


def test_a_run_that_left_no_weights_is_not_packed(store):
    store.create({"abc": tiny_config()})
    store.apply("abc", {"kind": "stopped", "text": "too early"})
    with pytest.raises(BundleError, match=r"left no weights, so there is nothing to carry away: run it again\.$"):
        pack(store, "abc")


@pytest.mark.parametrize("name", ["weights", "logits", "card"])
def test_a_run_whose_file_is_missing_or_changed_is_not_packed(store, there, name):
    unpack(store, there.of_student)
    path = getattr(store.folder(there.student), name)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(BundleError, match=r"^Pupil \| <b> cannot be packed, because its .*: run it again\.$"):
        pack(store, there.student)
    path.unlink()
    with pytest.raises(SaveError, match=rf"{path.name} is missing or cannot be read: run it again\.$"):
        pack(store, there.student)


def test_a_run_that_no_machine_would_take_in_is_not_packed(there, monkeypatch):
    monkeypatch.setattr(exchange_bundle, "MAX_BYTES", 50_000)
    with pytest.raises(BundleError, match=r"cannot be packed, because its weights\.safetensors is too large"):
        pack(there.store, there.student)


def test_a_run_that_diverged_is_not_packed(store, there):
    """Its weights are no numbers, and its card was written for them."""
    unpack(store, there.of_student)
    folder = store.folder(there.student)
    members = members_of(changed(there.of_student, weights__safetensors=set_value("3.bias", math.nan)))
    sealed(members)
    folder.weights.write_bytes(members[WEIGHTS])
    folder.card.write_bytes(members["card.json"])
    with pytest.raises(BundleError, match=r"because its weights\.safetensors holds what is not finite"):
        pack(store, there.student)


def test_probes_of_an_epoch_that_went_astray_are_left_out(store, there):
    unpack(store, there.of_student)
    astray = [[math.nan] * 10] * 20
    store.apply(there.student, {"kind": "probe", "epoch": 1, "step": 10, "logits": astray})
    probes = json.loads(members_of(pack(store, there.student))["probes.json"])["probes"]
    assert [probe["epoch"] for probe in probes] == [0, 2]


# ------------------------------------------------------------------------------------------------ what is no bundle


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"hello" * 99, pickle.dumps({"a": 1}), b"PK\5\6" + bytes(18)], ids=range(5)
)
def test_what_is_no_bundle_is_refused(store, content):
    refused(store, content)


@pytest.mark.parametrize("share", [0.0001, 0.1, 0.5, 0.9, 0.9999])
def test_a_bundle_cut_short_is_refused(store, there, share):
    refused(store, there.of_student[: int(share * len(there.of_student))], "it is no zip file as KD Lab writes it")


@pytest.mark.parametrize("name", exchange_bundle.MEMBERS)
def test_a_bundle_that_lacks_a_member_is_refused(store, there, name):
    members = members_of(there.of_student)
    del members[name]
    refused(store, zipped(members.items()), f"it holds no {name}:")


@pytest.mark.parametrize("name", exchange_bundle.MEMBERS)
def test_a_bundle_with_a_member_twice_is_refused(store, there, name):
    members = members_of(there.of_student)
    refused(store, zipped([*members.items(), (name, members[name])]), f"it holds {name} twice")


@pytest.mark.parametrize(
    "name",
    ["../evil", "../../config.json", "/tmp/evil", "evil.py", "config.json/", "./config.json", "a\\b", "checkpoint.pt",
     "README.MD", "__MACOSX/._config.json", "ünïcode", "x" * 5000],
)  # fmt: skip
def test_a_member_of_another_name_is_refused_wherever_it_would_go(store, there, name):
    members = members_of(there.of_student)
    refused(store, zipped([*members.items(), (name, b"evil")]), "which is no part of a bundle")
    content = members.pop("config.json")
    refused(store, zipped([(name, content), *members.items()]), "which is no part of a bundle")


def test_a_name_with_a_hidden_end_is_refused(store, there):
    members = members_of(there.of_student)
    content = zipped([("config.json|.exe", members.pop("config.json")), *members.items()])
    refused(store, content.replace(b"config.json|.exe", b"config.json\0.exe"), "which is no part of a bundle")


def test_a_member_that_is_a_link_is_refused(store, there):
    members = members_of(there.of_student)
    link = zipfile.ZipInfo("README.md")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    members.pop("README.md")
    refused(store, zipped([*members.items(), (link, b"/etc/passwd")]), "its README.md is a link")


def test_an_encrypted_member_is_refused(store, there):
    content = bytearray(there.of_student)
    content[content.rfind(b"config.json") - 46 + 8] |= 1
    refused(store, bytes(content), "its config.json is encrypted")


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(store, there, kind):
    refused(store, zipped(members_of(there.of_student).items(), kind), "is packed in a way of its own")


def test_a_zip_bomb_is_refused_by_its_directory(store, there, monkeypatch):
    monkeypatch.setattr(base_archive.Archive, "read", lambda *_: pytest.fail("it was unpacked"))
    for member, size in exchange_bundle.TEXT_BYTES.items():
        bomb = changed(there.of_student, **{member.replace(".", "__"): bytes(size + 1)})
        refused(store, bomb, f"its {member} is too large")
    for member in (WEIGHTS, LOGITS, "metrics.parquet", "metrics.csv", "probes.json"):
        bomb = changed(there.of_student, **{member.replace(".", "__"): bytes(9_000_000)})
        assert len(bomb) < 100_000
        refused(store, bomb, f"its {member} unpacks to over 100 times its size")
    monkeypatch.setattr(exchange_bundle, "MAX_BYTES", 100_000)
    refused(store, changed(there.of_student, metrics__parquet=bytes(99_000)), "it unpacks to over 0 MB")


def test_a_table_that_nobody_reads_is_not_unpacked(store, there):
    assert unpack(store, changed(there.of_student, metrics__parquet=b"no table")) == there.student


def test_more_probes_than_its_run_said_are_refused_before_they_are_parsed(store, there, monkeypatch):
    """Each number takes 32 bytes as Python holds it, and two as text."""
    numbers = b'{"probes": [' + b"0," * 10_000 + b"0]}"
    refused(store, changed(there.of_student, probes__json=numbers), "its probes.json holds more than its run said")
    monkeypatch.setattr(exchange_bundle, "MAX_PROBED", 100)
    refused(store, there.of_student, "its probes.json holds more than its run said")


@pytest.mark.parametrize("size", [0, 10, 10_000, 499_000_000])
def test_a_member_of_another_size_than_the_directory_states_is_refused(store, there, size):
    content = bytearray(changed(there.of_student, README__md=bytes(500_000)))
    start = content.rfind(b"README.md") - 46
    content[start + 24 : start + 28] = size.to_bytes(4, "little")
    refused(store, bytes(content), "it is damaged|is not of the size|is too large")


def test_a_bundle_that_is_too_large_is_not_even_opened(store, there, monkeypatch):
    monkeypatch.setattr(exchange_bundle, "MAX_BYTES", 1000)
    monkeypatch.setattr(exchange_bundle.zipfile, "ZipFile", lambda *_: pytest.fail("it was opened"))
    refused(store, there.of_student, "it is larger than 0 MB")


def test_a_directory_of_very_many_members_is_not_even_read(store, there, monkeypatch):
    content = zipped([(f"{number}", b"") for number in range(1000)])
    monkeypatch.setattr(exchange_bundle.zipfile, "ZipFile", lambda *_: pytest.fail("it was opened"))
    refused(store, content, "it is no zip file as KD Lab writes it")


def test_damage_anywhere_is_refused_or_harmless(store, there):
    """Random bytes of a bundle changed: nothing but a BundleError, or the run as it was."""
    dice = random.Random(0)
    refusals = 0
    for _ in range(150):
        content = bytearray(there.of_student)
        near = dice.choice([len(content), 1200])  # the directory more often than its share
        content[-dice.randint(1, near)] = dice.randrange(256)
        try:
            run_id = unpack(store, bytes(content))
        except BundleError:
            refusals += 1
        else:
            assert store.get(run_id).results == there.store.get(there.student).results
            store.delete(run_id)
    assert refusals > 50


# ---------------------------------------------------------------------------------------------- what its members say


@pytest.mark.parametrize("member", ["config.json", "run.json", "card.json", "probes.json"])
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'"\\ud800"', b"[" * 100_000, b'{"a": 1}', b"9" * 9999],
    ids=["empty", "open", "list", "null", "binary", "surrogate", "deep", "other", "digits"],
)
def test_json_of_another_form_is_refused(store, there, member, content):
    refused(
        store, changed(there.of_student, **{member.replace(".", "__"): content}), f"its {member} is not as it should"
    )


FACTS = {
    "bundle_format": [2, "1", None, ...],
    "id": ["../x", "a b", "", "x" * 41, "é", "a\n", 5, ...],
    "batch": ["../x", "", None],
    "created_at": [math.nan, math.inf, -1, "1", None, 1e18],
    "started_at": [1e18, "now"],
    "ended_at": [1e18, ...],
    "status": ["running", "failed", "deleted", None],
    "name": ["x" * 81, None, 5, "\ud800"],
    "note": ["x" * 2001],
    "tags": [["x" * 31], [""], "tag", ["a"] * 101, [5]],
    "step": [-1, 21, 1.5, True, 2**63],
    "total_steps": [0, 19, None],
    "environment": [[], {"a": {"b": 1}}, {"a": "x" * 201}, {"a": math.nan}, None],
    "results": [{}, None, []],
    "results.test_errors": [-1, 1.5, True, "5", None, 2**80, ...],
    "owner": ["me"],
    "results.more": [1],
}


@pytest.mark.parametrize(("path", "value"), [(path, value) for path, values in FACTS.items() for value in values])
def test_facts_that_no_run_has_are_refused(store, there, path, value):
    refused(store, changed(there.of_student, run__json=with_json(path, value)))


RESULTS = {
    "test_errors": [446, 3, "5", -1],
    "test_examples": [0, 444, 10**6],
    "validation_errors": [112, -1, 0.5, None],
    "validation_examples": [0, None],
    "epochs": [2.5, -1, math.nan],
    "classes": [9, None],
    "parameters": [-5, "many"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in RESULTS.items() for value in values])
def test_results_that_cannot_be_are_refused(store, there, name, value):
    change = with_json(f"results.{name}", value)
    refused(store, changed(there.of_student, run__json=change, card__json=change))


@pytest.mark.parametrize("member", ["run__json", "card__json"])
def test_results_told_in_two_ways_are_refused(store, there, member):
    change = with_json("results.validation_errors", 0)
    refused(store, changed(there.of_student, **{member: change}), "tells of other results")


def test_one_test_error_less_is_found_out(store, there):
    claimed = there.store.get(there.student).results["test_errors"] - 1
    change = with_json("results.test_errors", claimed)
    match = f"its logits make {claimed + 1} test errors, and it tells of others"
    refused(store, changed(there.of_student, run__json=change, card__json=change), match)


@pytest.mark.parametrize("name", ["parameters", "size_bytes", "multiply_adds"])
def test_costs_are_counted_anew_and_not_believed(store, there, name):
    change = with_json(f"results.{name}", 1)
    run_id = unpack(store, changed(there.of_student, run__json=change, card__json=change))
    results = there.store.get(there.student).results
    assert store.get(run_id).results == results
    assert json.loads(store.folder(run_id).card.read_text())["results"] == results


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("dataset", "imagenet"), ("dataset", "mnist"), ("role", "baseline"), ("role", "teacher"), ("seed", -1),
        ("model.hidden", [17]), ("model.hidden", [16, 16]), ("model.hidden", [20_000] * 20), ("model.name", "cnn"),
        ("model.name", "resnet18"), ("model.batch_norm", True), ("distillation.teachers", ["../../x"]),
        ("distillation.teachers", ["a" * 41]), ("distillation.temperature", 0), ("continues", "../x"),
        ("continues", ""), ("training.epochs", 1), ("training.newer", 1), ("newer", 1),
    ],
)  # fmt: skip
def test_configs_that_do_not_fit_the_rest_are_refused(store, there, path, value):
    card = with_json(f"config.{path}", value)
    refused(store, changed(there.of_student, config__json=with_json(path, value), card__json=card))


def test_a_config_told_in_two_ways_is_refused(store, there):
    match = "its card.json tells of another config than its config.json"
    refused(store, changed(there.of_student, config__json=with_json("seed", 2)), match)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("input.shape", [1, 28, 27]), ("input.shape", [1, 28]), ("input.mean", 0.5), ("input.mean", math.nan),
        ("input.std", 0), ("input.std", 1), ("class_names", []), ("class_names", ["a"] * 10), ("torch", 2),
        ("class_names", ["x" * 201] * 10), ("weights_sha256", "0" * 64), ("logits_sha256", ""), ("device", ...),
        ("card", "new"),
    ],
)  # fmt: skip
def test_cards_that_do_not_fit_the_rest_are_refused(store, there, path, value):
    refused(store, changed(there.of_student, card__json=with_json(path, value)))


# -------------------------------------------------------------------------------------------------------- the numbers


class Creates:
    """Unpickling this creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("member", [WEIGHTS, LOGITS, "metrics.parquet", "card.json"])
def test_a_pickle_dressed_up_as_a_member_creates_nothing(store, there, tmp_path, member):
    evil = tmp_path / "evil"
    saved = io.BytesIO()
    torch.save({"1.weight": Creates(evil)}, saved)
    for bomb in (pickle.dumps(Creates(evil)), saved.getvalue()):
        change = {member.replace(".", "__"): bomb}
        if member == "metrics.parquet":
            store.delete(unpack(store, changed(there.of_student, **change)))  # nobody reads it
        elif member == "card.json":
            refused(store, changed(there.of_student, **change), "its card.json is not as it should be")
        else:
            refused(store, forged(there.of_student, **change), f"its {member} is no safetensors file")
    assert not evil.exists()
    pickle.loads(pickle.dumps(Creates(evil))).close()
    assert evil.exists()  # it is a real one


def set_value(name, value):
    def change(tensors):
        tensors[name].view(-1)[3] = value

    return with_tensors(change)


def set_tensor(name, make):
    def change(tensors):
        tensors[name] = make(tensors.get(name))

    return with_tensors(change)


NO_WEIGHTS = {
    "empty": b"",
    "header only": b"\x02\0\0\0\0\0\0\0{}",
    "a huge header": b"\xff" * 16,
    "very many names": safetensors.torch.save({f"name {number}": torch.zeros(0) for number in range(20_000)}),
    "cut": lambda content: content[:-4],
    "longer": lambda content: content + bytes(4),
    "nan": set_value("1.weight", math.nan),
    "inf": set_value("3.bias", -math.inf),
    "one more": set_tensor("2.weight", lambda _: torch.zeros(2)),
    "one less": with_tensors(lambda tensors: tensors.pop("1.bias")),
    "other shape": set_tensor("1.weight", lambda tensor: tensor.T),
    "flat": set_tensor("1.weight", lambda tensor: tensor.reshape(-1)),
    "double": set_tensor("1.weight", lambda tensor: tensor.double()),
    "half": set_tensor("1.weight", lambda tensor: tensor.half()),
    "float8": set_tensor("1.weight", lambda tensor: tensor.to(torch.float8_e4m3fn)),
    "whole": set_tensor("1.bias", lambda tensor: tensor.long()),
}


@pytest.mark.parametrize("change", NO_WEIGHTS.values(), ids=NO_WEIGHTS)
def test_weights_that_are_not_those_of_the_architecture_are_refused(store, there, change):
    refused(store, forged(there.of_student, weights__safetensors=change), "its weights")


NO_LOGITS = {
    "empty": b"",
    "nan": set_value("test", math.nan),
    "too few": set_tensor("test", lambda tensor: tensor[:-1]),
    "too many classes": set_tensor("test", lambda tensor: tensor.repeat(1, 2)),
    "double": set_tensor("test", lambda tensor: tensor.double()),
    "a train part": set_tensor("train", lambda _: torch.zeros(1352, 10)),
    "no validation": set_tensor("validation", lambda tensor: tensor[:0]),
    "too little validation": set_tensor("validation", lambda tensor: tensor[:-1]),
    "validation of other images": set_tensor("validation", lambda tensor: tensor.flip(0)),
    "no test part": with_tensors(lambda tensors: tensors.pop("test")),
    "of another model": set_tensor("test", lambda tensor: tensor.roll(1, dims=1)),
    "scaled": set_tensor("test", lambda tensor: 1.1 * tensor),
}


@pytest.mark.parametrize("change", NO_LOGITS.values(), ids=NO_LOGITS)
def test_logits_that_are_not_those_of_the_weights_are_refused(store, there, change):
    refused(store, forged(there.of_student, logits__safetensors=change), "its (weights|logits)")


@pytest.mark.parametrize(
    "change",
    [
        set_tensor("train", lambda tensor: tensor[:-1]),
        set_tensor("train", lambda tensor: tensor.flip(0)),
    ],
    ids=["short", "of other images"],
)
def test_a_teachers_logits_of_the_training_set_are_its_own(store, there, change):
    refused(store, forged(there.of_teacher, logits__safetensors=change), "its (weights|logits)")


def test_a_teacher_without_kept_logits_is_taken_in_and_asked_later(store, there):
    change = with_tensors(lambda tensors: tensors.pop("train"))
    assert unpack(store, forged(there.of_teacher, logits__safetensors=change)) == there.teacher
    assert artifacts.training_logits([store.folder(there.teacher)], "digits") is None
    pupil = train_here(store, tiny_config("distilled", teachers=(there.teacher,), seed=1))
    assert store.get(pupil).results["test_errors"] == there.store.get(there.student).results["test_errors"]


def test_a_bundle_of_before_validation_logits_were_kept_is_taken_in(store, there):
    change = with_tensors(lambda tensors: tensors.pop("validation"))
    assert unpack(store, forged(there.of_student, logits__safetensors=change)) == there.student
    assert artifacts.validation_logits(store.folder(there.student)) is None


def test_a_run_without_a_validation_split_travels_without_its_logits(store, tmp_path):
    elsewhere = Store(tmp_path / "elsewhere")
    run_id = train_here(elsewhere, tiny_config(validation_fraction=0.0))
    bundle = pack(elsewhere, run_id)
    assert unpack(store, bundle) == run_id
    assert artifacts.validation_logits(store.folder(run_id)) is None
    elsewhere.close()
    made_up = set_tensor("validation", lambda _: torch.zeros(0, 10))
    store.delete(run_id)
    with pytest.raises(BundleError, match="it holds logits of a validation split, and tells of none"):
        unpack(store, forged(bundle, logits__safetensors=made_up))


def test_the_temperature_that_calibrates_a_run_travels_with_it(store, there):
    unpack(store, there.of_student)
    here, away = (artifacts.validation_logits(place.folder(there.student)) for place in (store, there.store))
    assert calibration.fitted_temperature(*here) == calibration.fitted_temperature(*away)


@pytest.mark.parametrize("member", [WEIGHTS, LOGITS])
def test_a_member_changed_after_its_card_was_written_is_refused(store, there, member):
    name = "3.bias" if member == WEIGHTS else "test"
    change = {member.replace(".", "__"): set_value(name, 0.125)}
    refused(store, changed(there.of_student, **change), f"its {member} was changed after its card.json was written")


def test_weights_that_say_something_else_are_found_out(store, there):
    change = set_tensor("3.bias", lambda tensor: tensor + torch.arange(10) / 10)
    refused(
        store, forged(there.of_student, weights__safetensors=change), "its weights give other logits of test images"
    )


def test_weights_from_another_processor_may_differ_by_rounding(store, there):
    change = set_tensor("3.bias", lambda tensor: tensor + 1e-3)
    assert unpack(store, forged(there.of_student, weights__safetensors=change)) == there.student


def test_without_the_data_set_all_but_its_answers_is_checked(store, there, monkeypatch):
    monkeypatch.setattr(exchange_bundle, "available", lambda name: False)
    refused(store, forged(there.of_student, logits__safetensors=NO_LOGITS["too few"]), "its logits are not those")
    refused(store, forged(there.of_student, weights__safetensors=NO_WEIGHTS["nan"]), "holds what is not finite")
    assert unpack(store, there.of_student) == there.student


# -------------------------------------------------------------------------------------------------------- the records

NO_RECORDS = {
    "no heading": b"",
    "another heading": with_lines(lambda lines: ["a,b", *lines[1:]]),
    "binary": b"\xff\xfe\x00",
    "infinite": with_cell(1, "loss", "inf"),
    "overflowing": with_cell(1, "loss", "1e999"),
    "nan": with_cell(1, "loss", "nan"),
    "text": with_cell(1, "loss", "=1+1"),
    "long": with_cell(1, "loss", "1" * 200_000),
    "no step": with_cell(1, "step", ""),
    "step 0": with_cell(1, "step", "0"),
    "negative": with_cell(1, "step", "-1"),
    "fraction": with_cell(1, "step", "1.5"),
    "far step": with_cell(-1, "step", "21"),
    "huge step": with_cell(-1, "step", "9" * 30),
    "no kind": with_cell(1, "kind", ""),
    "other kind": with_cell(1, "kind", "probe"),
    "no epoch": with_cell(1, "epoch", ""),
    "half an epoch": with_cell(-1, "epoch", "1.5"),
    "negative epoch": with_cell(1, "epoch", "-1"),
    "epoch without seconds": with_cell(-1, "seconds", ""),
    "epoch without best": with_cell(-1, "best", ""),
    "errors": with_cell(-1, "validation_errors", "-1"),
    "twice": with_lines(lambda lines: [*lines, lines[-1]]),
    "out of order": with_lines(lambda lines: [lines[0], lines[2], lines[1], *lines[3:]]),
    "a cell more": with_lines(lambda lines: [*lines[:-1], lines[-1] + ",1"]),
    "a cell less": with_lines(lambda lines: [*lines[:-1], lines[-1].rpartition(",")[0]]),
    "an empty line": with_lines(lambda lines: [*lines, ""]),
    "an open quote": with_cell(1, "loss", '"1'),
    "quotes": with_cell(1, "loss", '"1"'),
    "a long line": with_lines(lambda lines: [*lines, "," * 1_000_000]),
    "another end of line": lambda content: content.replace(b"\n", b"\r"),
}


@pytest.mark.parametrize("change", NO_RECORDS.values(), ids=NO_RECORDS)
def test_records_that_no_run_writes_are_refused(store, there, change):
    refused(store, changed(there.of_student, metrics__csv=change), "its metrics.csv")


def test_too_many_records_are_refused(store, there, monkeypatch):
    count = len(members_of(there.of_student)["metrics.csv"].splitlines()) - 1
    monkeypatch.setattr(exchange_bundle, "MAX_RECORDS", count - 1)
    refused(store, there.of_student, f"its metrics.csv holds more than {count - 1} records")
    monkeypatch.setattr(exchange_bundle, "MAX_RECORDS", count)
    assert unpack(store, there.of_student) == there.student


@pytest.mark.parametrize(
    "probes",
    [
        [{"epoch": 0, "logits": [[0.0] * 10] * 19}], [{"epoch": 0, "logits": [[0.0] * 9] * 20}],
        [{"epoch": 0, "logits": []}], [{"epoch": -1, "logits": [[0.0] * 10] * 20}],
        [{"epoch": 0, "logits": [[math.nan] * 10] * 20}], [{"epoch": 0, "logits": [["0"] * 10] * 20}],
        [{"epoch": 0, "logits": [[0.0] * 10] * 20}] * 2, {"0": []}, None,
    ],
)  # fmt: skip
def test_probes_that_no_run_says_are_refused(store, there, probes):
    refused(store, changed(there.of_student, probes__json=with_json("probes", probes)), "its probes.json")


# ------------------------------------------------------------------------------------- troubles of this machine


@pytest.mark.parametrize("written", range(4))
def test_a_disk_that_fills_half_way_keeps_nothing(store, there, monkeypatch, written):
    real, calls = os.fsync, []

    def fsync(descriptor):
        calls.append(descriptor)
        if len(calls) > written:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(SaveError, match="is full: free some space"):
        unpack(store, there.of_student)
    monkeypatch.undo()
    assert store.runs() == []
    assert list((store.home / "runs").iterdir()) == []
    assert unpack(store, there.of_student) == there.student


def test_a_store_that_fills_half_way_keeps_nothing(store, there):
    pages = store._database.execute("PRAGMA page_count").fetchone()[0]
    store._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="its disk is full: free some space"):
        unpack(store, there.of_student)
    assert store.runs() == []
    assert list((store.home / "runs").iterdir()) == []
    store._database.execute("PRAGMA max_page_count = 100000")
    assert unpack(store, there.of_student) == there.student


def test_a_folder_that_cannot_be_written_is_said_in_words(store, there):
    (store.home / "runs").write_text("a file")
    with pytest.raises(SaveError, match="runs cannot be used: File exists"):
        unpack(store, there.of_student)
    assert store.runs() == []


def test_only_a_run_that_has_ended_is_adopted_and_only_once(store, there):
    run = there.store.get(there.student)
    with pytest.raises(StoreError, match="is running: only one that has ended can be taken in"):
        store.adopt(replace(run, status="running"), [], [])
    store.adopt(run, there.store.records(run.id, "step"), there.store.probes(run.id))
    with pytest.raises(StoreError, match="cannot take this entry"):
        store.adopt(replace(run, name="Thief"), [], [])
    assert store.get(run.id) == run
    assert store.records(run.id, "step") == there.store.records(run.id, "step")
    assert store.interrupt_orphans() == []


def test_an_adoption_that_fails_half_way_enters_nothing(store, there):
    run = replace(there.store.get(there.student), id=new_id())

    def records():
        yield there.store.records(there.student, "step")[0]
        raise BundleError("no more")

    with pytest.raises(BundleError, match="no more"):
        store.adopt(run, records(), [])
    assert store.runs() == []
    assert store.records(run.id, "step") == []
