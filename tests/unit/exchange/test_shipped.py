"""What ships is what its cards claim, arrives in a store once and whole, and needs no network."""

import json
from pathlib import Path

import numpy as np
import pytest
from tiny import tiny_config, train_here

from kd_core.base import tensors
from kd_core.base.config import LabError
from kd_core.base.files import SaveError
from kd_core.exchange import bundle, shipped
from kd_core.runs import artifacts
from kd_core.runs.store import Store

REPOSITORY = Path(__file__).resolve().parents[3] / "checkpoints" / "shipped"


@pytest.fixture
def there(tmp_path, monkeypatch):
    """A store in which two small runs were trained, which now ship."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "shipped")
    store = Store(tmp_path / "there")
    teacher = train_here(store, tiny_config())
    student = train_here(store, tiny_config("distilled", teachers=(teacher,), seed=1))
    for run_id in (teacher, student):
        shipped.ship(store, run_id)
    yield store, teacher, student
    store.close()


def test_a_store_takes_in_what_ships_once_and_whole(there, store):
    before, teacher, student = there
    assert shipped.take_in(store) == [student, teacher]
    assert shipped.take_in(store) == []
    for run_id in (teacher, student):
        old, new = before.get(run_id), store.get(run_id)
        assert (new.config, new.results, new.step, new.status) == (old.config, old.results, old.step, "finished")
        assert new.tags == (shipped.TAG,)
        for kind in ("step", "epoch"):
            for was, now in zip(before.records(run_id, kind), store.records(run_id, kind), strict=True):
                assert [shipped._short(value) for value in was.values()] == [*now.values()]
        for was, now in zip(before.probes(run_id), store.probes(run_id), strict=True):
            assert now[0] == was[0]
            np.testing.assert_allclose(now[1], was[1], atol=0.0051)


def test_weights_in_float16_are_the_trained_ones_rounded_once(there, store):
    before, teacher, _ = there
    shipped.take_in(store)
    trained = tensors.load_tensors(before.folder(teacher).weights)
    written = tensors.load_tensors(shipped.FOLDER / "digits-teacher" / shipped.WEIGHTS)
    taken = tensors.load_tensors(store.folder(teacher).weights)
    for name, tensor in trained.items():
        assert written[name].equal(tensor.half())
        assert taken[name].equal(tensor.half().float())


def test_weights_stay_float32_where_float16_would_change_test_errors(there):
    """The claim that the check compares with is set off by one, so that rounding seems to change it."""
    before, teacher, _ = there
    results = before.get(teacher).results
    off = {**results, "test_errors": results["test_errors"] + 1}
    before.apply(teacher, {"kind": "finished", "results": off})
    written = tensors.load_tensors(shipped.ship(before, teacher) / shipped.WEIGHTS)
    trained = tensors.load_tensors(before.folder(teacher).weights)
    assert all(written[name].equal(tensor) for name, tensor in trained.items())


def test_logits_are_asked_of_the_weights_when_first_needed(there, store):
    before, teacher, student = there
    shipped.take_in(store)
    assert not store.folder(teacher).logits.exists()
    for run_id in (teacher, student):
        np.testing.assert_allclose(
            artifacts.test_logits(store.folder(run_id)), artifacts.test_logits(before.folder(run_id)), atol=0.02
        )
    assert artifacts.training_logits([store.folder(teacher)], "digits") is None  # a worker asks for these itself
    logits, labels = artifacts.validation_logits(store.folder(teacher))
    assert len(logits) == len(labels) == before.get(teacher).results["validation_examples"]


def test_a_shipped_run_teaches_and_travels_like_any_other(there, store, tmp_path):
    _, teacher, _ = there
    shipped.take_in(store)
    pupil = train_here(store, tiny_config("distilled", teachers=(teacher,), seed=5))
    assert store.get(pupil).status == "finished"
    elsewhere = Store(tmp_path / "elsewhere")
    assert bundle.unpack(elsewhere, bundle.pack(store, teacher)) == teacher
    elsewhere.close()


def test_what_a_user_deleted_stays_deleted(there, store):
    _, teacher, student = there
    shipped.take_in(store)
    store.delete(teacher)
    store.purge(days=0)
    assert shipped.take_in(store) == []
    assert [run.id for run in store.runs()] == [student]


def test_what_was_trained_here_is_not_replaced(there):
    before, teacher, student = there
    shipped.take_in(before)
    assert {run.id: run.tags for run in before.runs()} == {teacher: (), student: ()}


def test_nothing_ships_that_has_not_finished(there):
    before, *_ = there
    stopped = train_here(before, tiny_config(epochs=50), requested=lambda: "stop")
    with pytest.raises(LabError, match="only what has finished"):
        shipped.ship(before, stopped)


@pytest.mark.parametrize("file", [shipped.WEIGHTS, shipped.FACTS, shipped.HISTORY])
@pytest.mark.parametrize("damage", ["missing", "cut", "list"])
def test_a_damaged_file_is_a_sentence_and_the_store_opens(there, store, file, damage, caplog):
    path = shipped.FOLDER / "digits-teacher" / file
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"[]")
    if (file, damage) == (shipped.FACTS, "missing"):
        return  # then it is no folder of a model
    with pytest.raises(SaveError, match="missing or damaged: fetch KD Lab anew"):
        shipped.take_in(store)
    shipped.offer(store)
    assert "not offered" in caplog.text


def test_verify_finds_a_claim_that_is_not_true(there):
    facts_file = shipped.FOLDER / "digits-teacher" / shipped.FACTS
    facts = json.loads(facts_file.read_text())
    facts["run"]["results"]["test_errors"] -= 1
    facts_file.write_text(json.dumps(facts))
    student, teacher = shipped.verify()
    assert student.holds
    assert not teacher.holds
    assert teacher.measured == teacher.claimed + 1


def test_verify_finds_other_data(there):
    facts_file = shipped.FOLDER / "digits-teacher" / shipped.FACTS
    facts = json.loads(facts_file.read_text())
    facts["data_md5"]["test_labels"] = "0" * 32
    facts_file.write_text(json.dumps(facts))
    assert [check.problem for check in shipped.verify()] == ["", "other data than it was trained and tested on"]


def test_verify_says_which_data_are_missing_and_which_models(there, monkeypatch, tmp_path):
    monkeypatch.setattr(shipped, "available", lambda name: False)
    assert [(check.measured, check.holds) for check in shipped.verify()] == [(None, False)] * 2
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "nothing")
    with pytest.raises(SaveError, match="holds no model"):
        list(shipped.verify())


# ------------------------------------------------------------------------------------ what lies in this repository


def test_both_data_sets_ship_a_whole_story():
    roles = ("baseline", "distilled", "teacher")
    assert shipped.names() == [f"{dataset}-{role}" for dataset in ("digits", "mnist") for role in roles]
    for name in shipped.names():
        card = (REPOSITORY / name / "README.md").read_text()
        assert all(phrase in card for phrase in ("Made by", shipped.COMMAND, "test_images", "torch", "test errors"))


def test_the_shipped_digits_models_make_the_errors_that_they_claim():
    assert [check for check in shipped.verify() if check.name.startswith("digits") and not check.holds] == []


def test_the_shipped_models_are_a_few_megabytes():
    assert sum(file.stat().st_size for file in REPOSITORY.rglob("*")) < 13e6
