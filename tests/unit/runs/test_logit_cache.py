"""What a teacher said is kept, and never taken for what another teacher, other data or another order would have got."""

import dataclasses

import pytest
import torch
from tiny import tiny_config, train_here

from kd_core.models import build
from kd_core.runs import artifacts, logit_cache


@pytest.fixture
def teacher(store):
    """A trained run that keeps no logits over the training set, as an assistant does not."""
    return train_here(store, tiny_config("baseline"))


def teacher_logits(store, teacher, dataset, model=None):
    model = model or artifacts.load_model(store.folder(teacher), dataset)
    return logit_cache.of_all([store.folder(teacher)], dataset, lambda _: model)


def files(store):
    return sorted((store.storage / logit_cache.FOLDER).glob("*.safetensors"))


class Silent(torch.nn.Module):
    """A teacher that must not be asked."""

    def forward(self, images):
        raise AssertionError("asked again")


def test_a_teacher_is_asked_once_and_its_logits_lie_in_the_order_of_the_images(store, teacher, digits):
    first = teacher_logits(store, teacher, digits)
    model = artifacts.load_model(store.folder(teacher), digits)
    with torch.no_grad():
        for index in (0, 700, 1351):
            alone = model(digits.normalise(digits.train_images[index : index + 1]))[0]
            torch.testing.assert_close(first[0, index], alone, rtol=1e-4, atol=1e-4)
    assert torch.equal(teacher_logits(store, teacher, digits, Silent()), first)
    assert len(files(store)) == 1


def test_logits_are_never_given_for_other_weights_images_order_or_labels(store, teacher, digits):
    teacher_logits(store, teacher, digits)
    order = torch.randperm(len(digits.train_labels), generator=torch.Generator().manual_seed(0))
    brighter, relabelled = digits.train_images.clone(), digits.train_labels.clone()
    brighter[5, 0, 10, 10] += 1
    relabelled[5] = (relabelled[5] + 1) % 10
    changed = {
        "order": {"train_images": digits.train_images[order], "train_labels": digits.train_labels[order]},
        "order within a class": {"train_images": within_classes(digits)},
        "image": {"train_images": brighter},
        "label": {"train_labels": relabelled},
        "normalisation": {"mean": digits.mean + 0.01},
        "name": {"name": "mnist"},
    }
    names = {logit_cache.key(store.folder(teacher), digits)}
    for change in changed.values():
        names.add(logit_cache.key(store.folder(teacher), dataclasses.replace(digits, **change)))
    other = train_here(store, tiny_config("baseline", seed=1))
    names.add(logit_cache.key(store.folder(other), digits))
    assert len(names) == len(changed) + 2
    shuffled = dataclasses.replace(digits, **changed["order"])
    torch.testing.assert_close(
        teacher_logits(store, teacher, shuffled)[0], teacher_logits(store, teacher, digits)[0][order]
    )


def within_classes(digits):
    """The images with two of one class exchanged: the labels stay as they were."""
    first, second = (digits.train_labels == 3).nonzero().squeeze(1)[:2].tolist()
    images = digits.train_images.clone()
    images[[first, second]] = images[[second, first]]
    return images


def test_a_file_that_was_renamed_cut_short_or_changed_is_not_believed(store, teacher, digits):
    good = teacher_logits(store, teacher, digits)
    (path,) = files(store)
    whole = path.read_bytes()
    other = train_here(store, tiny_config("baseline", seed=1))
    teacher_logits(store, other, digits)
    (stale,) = [file for file in files(store) if file != path]
    flipped = bytearray(whole)
    flipped[-1] ^= 1
    for damage in (whole[:-10], b"", bytes(flipped), stale.read_bytes()):
        path.write_bytes(damage)
        assert torch.equal(teacher_logits(store, teacher, digits), good)
        assert torch.equal(teacher_logits(store, teacher, digits, Silent()), good)  # and is whole again


def test_the_oldest_go_where_there_are_too_many(store, teacher, digits, monkeypatch):
    teacher_logits(store, teacher, digits)
    monkeypatch.setattr(logit_cache, "MOST_BYTES", files(store)[0].stat().st_size + 10)
    teacher_logits(store, train_here(store, tiny_config("baseline", seed=1)), digits)
    assert len(files(store)) == 1


def test_a_run_keeps_what_it_asked_and_the_next_one_finds_it(store, teacher, digits, monkeypatch):
    train_here(store, tiny_config("distilled", teachers=(teacher,)))
    assert len(files(store)) == 1
    counts = []
    ask = build.logits_of
    monkeypatch.setattr(
        build, "logits_of", lambda model, images, *rest: counts.append(len(images)) or ask(model, images, *rest)
    )
    train_here(store, tiny_config("distilled", teachers=(teacher,), seed=1))
    assert len(digits.train_images) not in counts
