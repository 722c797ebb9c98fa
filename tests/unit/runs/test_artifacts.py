"""What a run leaves behind of its validation split."""

import json

import pytest
import torch
from tiny import tiny_config, train_here

from kd_core.base import files, tensors
from kd_core.base.files import SaveError
from kd_core.data import load
from kd_core.data.catalogue import TransferSetConfig
from kd_core.evaluation import accuracy
from kd_core.losses.config import DistillationConfig
from kd_core.models import build
from kd_core.runs import artifacts
from kd_core.runs.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store"))
    yield store
    store.close()


@pytest.fixture(scope="module")
def teacher(store):
    return train_here(store, tiny_config())


def expected_logits(store, run_id, indices):
    digits = load.load("digits")
    model = artifacts.load_model(store.folder(run_id), digits)
    return build.logits_of(model, digits.train_images[indices], digits.normalise).numpy()


def test_validation_logits_are_the_splits_with_the_errors_that_chose(store, teacher):
    logits, labels = artifacts.validation_logits(store.folder(teacher))
    run, digits = store.get(teacher), load.load("digits")
    chosen_by = digits.split(run.config.training.validation_fraction, run.config.seed)[1]
    assert labels.tolist() == digits.train_labels[chosen_by].tolist()
    assert (logits == expected_logits(store, teacher, chosen_by)).all()
    assert accuracy.test_errors(logits, labels) == run.results["validation_errors"]
    assert len(labels) == run.results["validation_examples"]


def test_unlabelled_validation_logits_come_with_true_labels_of_its_classes(store, teacher):
    config = tiny_config("distilled", teachers=(teacher,), seed=3).replace(
        transfer_set=TransferSetConfig(only_classes=(1, 4, 7), labelled=False),
        distillation=DistillationConfig(teachers=(teacher,), alpha=1.0),
    )
    run_id = train_here(store, config)
    logits, labels = artifacts.validation_logits(store.folder(run_id))
    digits = load.load("digits")
    chosen_by = digits.split(config.training.validation_fraction, 3)[1]
    chosen_by = chosen_by[torch.isin(digits.train_labels[chosen_by], torch.tensor([1, 4, 7]))]
    assert labels.tolist() == digits.train_labels[chosen_by].tolist()
    assert (logits == expected_logits(store, run_id, chosen_by)).all()


def test_a_run_without_a_validation_split_has_no_logits_of_one(store):
    assert artifacts.validation_logits(store.folder(train_here(store, tiny_config(validation_fraction=0.0)))) is None


def test_validation_logits_that_are_damaged_or_of_another_split_are_refused(store):
    run_id = train_here(store, tiny_config(seed=8))
    folder = store.folder(run_id)
    logits = tensors.load_tensors(folder.logits)
    tensors.save_tensors(folder.logits, logits | {"validation": logits["validation"][:-1]})
    with pytest.raises(SaveError, match="missing or damaged"):
        artifacts.validation_logits(store.folder(run_id))
    card = folder.card.read_text(encoding="utf-8")
    old = json.loads(card)["logits_sha256"]
    folder.card.write_text(card.replace(old, files.sha256(folder.logits)), encoding="utf-8")
    with pytest.raises(SaveError, match="another validation split"):
        artifacts.validation_logits(store.folder(run_id))
