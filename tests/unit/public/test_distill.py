"""kd.distill: own networks and examples, trained by the app's loop; what its user gets wrong ends in a sentence."""

import numpy as np
import onnxruntime
import pytest
import torch
from tiny import assert_same_weights
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import kd_core as kd
from kd_core.base import tensors
from kd_core.evaluation.statistics import mean_interval
from kd_core.losses.config import DistillationConfig
from kd_core.models import build
from kd_core.models.config import ModelConfig
from kd_core.training.config import RunConfig, TrainingConfig
from kd_core.training.loop import Training, train

CLASSES = 3
BRIEF = {"epochs": 2, "batch_size": 16, "learning_rate": 1e-2, "progress": False}


def examples(count, seed):
    """Three clouds in four dimensions."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    centres = 2 * torch.eye(4)[:CLASSES]
    return centres[labels] + torch.randn(count, 4, generator=generator), labels


TRAIN, TEST = examples(60, 0), examples(45, 1)


def student():
    return nn.Linear(4, CLASSES)


@pytest.fixture(scope="module")
def teacher():
    """It knows the clouds' centres."""
    made = nn.Linear(4, CLASSES)
    with torch.no_grad():
        made.weight.copy_(4 * torch.eye(4)[:CLASSES])
        made.bias.zero_()
    return made.eval()


@pytest.fixture(scope="module")
def result(teacher):
    return kd.distill(student=student, teacher=teacher, data=(TRAIN, TEST), temperature=2, alpha=0.7, seeds=3, **BRIEF)


def distilled(teacher, **changes):
    given = {"student": student, "teacher": teacher, "data": (TRAIN, TEST), "seeds": 1, **BRIEF}
    return kd.distill(**given | changes)


# ------------------------------------------------------------------------------------------------------ what comes


def test_errors_are_those_of_the_students_that_are_handed_out(result):
    for seed in range(3):
        for role, runs in (("baseline", result.baseline_runs), ("distilled", result.student_runs)):
            wrong = int((runs[seed].model(TEST[0]).argmax(dim=1) != TEST[1]).sum())
            assert result.errors.loc[seed, role] == wrong


def test_what_is_saved_and_its_interval_follow_from_the_errors_by_seed(result):
    saved = (result.errors["baseline"] - result.errors["distilled"]).tolist()
    assert result.errors["saved"].tolist() == saved
    mean, low, high = mean_interval(saved)
    assert (result.difference.mean, result.difference.interval) == (mean, (low, high))
    assert f"95% interval {low if mean >= 0 else -high:.1f} to" in result.verdict


def test_a_student_is_to_the_last_bit_the_one_that_the_app_would_train(digits_pair):
    """The same loop, losses and order: a network of the app's, given as a module, ends with the run's own weights."""
    dataset, teacher, make = digits_pair
    training = {"epochs": 1, "batch_size": 128, "learning_rate": 5e-3}
    inputs = dataset.normalise(dataset.train_images), dataset.train_labels
    tested = dataset.normalise(dataset.test_images), dataset.test_labels
    given = {"temperature": 3.0, "alpha": 0.8, "seeds": [4], "progress": False, **training}
    ours = kd.distill(student=make, teacher=teacher, data=(inputs, tested), **given)
    config = RunConfig(
        role="distilled",
        dataset="digits",
        model=ModelConfig(hidden=(8,)),
        distillation=DistillationConfig(teachers=("a",), temperature=3.0, alpha=0.8),
        training=TrainingConfig(precision="float32", **training),
        seed=4,
    )
    run = Training(config, dataset, teachers=[teacher])
    for _ in train(run):
        pass
    assert_same_weights(ours.student.state_dict(), run.best_model().state_dict())


@pytest.fixture
def digits_pair():
    from kd_core.data import load

    dataset = load.load("digits")
    torch.manual_seed(9)
    make = lambda: build.build(ModelConfig(hidden=(8,)), (1, 28, 28), 10)  # noqa: E731
    return dataset, make(), make


def test_baseline_and_student_start_alike_and_a_seed_from_its_own_weights(teacher):
    never = kd.distill(
        student=student, teacher=teacher, data=(TRAIN, TEST), seeds=2, **BRIEF | {"learning_rate": 1e-9, "epochs": 1}
    )
    for seed in range(2):
        left, right = (runs[seed].model.weight for runs in (never.baseline_runs, never.student_runs))
        assert torch.allclose(left, right, atol=1e-6)
    first, second = (never.student_runs[seed].model.weight for seed in range(2))
    assert not torch.allclose(first, second, atol=1e-3)


def test_a_module_starts_every_seed_and_stays_as_it_was(teacher):
    mine, before = student(), None
    before = {name: tensor.clone() for name, tensor in mine.state_dict().items()}
    result = distilled(teacher, student=mine, seeds=2)
    assert_same_weights(mine.state_dict(), before)
    assert not torch.equal(result.student.weight, before["weight"])
    assert any("Give a function" in note for note in result.notes)


def test_the_teacher_stays_as_its_owner_has_it(teacher):
    mine = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, CLASSES)).train()
    result = distilled(mine)
    assert mine.training
    assert all(parameter.requires_grad for parameter in mine.parameters())
    assert any("train mode" in note for note in result.notes)


def test_the_users_random_numbers_are_not_touched(teacher):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    distilled(teacher)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    "data",
    [
        (TensorDataset(*TRAIN), TensorDataset(*TEST)),
        (DataLoader(TensorDataset(*TRAIN), batch_size=7), DataLoader(TensorDataset(*TEST), batch_size=7)),
        ([(x, int(y)) for x, y in zip(*TRAIN, strict=True)], [(x, int(y)) for x, y in zip(*TEST, strict=True)]),
        ([{"pixel_values": x, "labels": int(y)} for x, y in zip(*TRAIN, strict=True)], TEST),
        (tuple(part.numpy() for part in TRAIN), tuple(part.numpy() for part in TEST)),
    ],
    ids=["TensorDataset", "DataLoader", "Dataset", "dicts", "arrays"],
)
def test_every_kind_of_data_gives_the_same_student(teacher, result, data):
    again = kd.distill(student=student, teacher=teacher, data=data, temperature=2, alpha=0.7, seeds=[0], **BRIEF)
    assert again.errors.loc[0].tolist() == result.errors.loc[0].tolist()


def test_preprocess_stands_before_both_networks(teacher):
    bytes_of = [((inputs * 20 + 100).clamp(0, 255).to(torch.uint8), labels) for inputs, labels in (TRAIN, TEST)]
    result = distilled(teacher, data=bytes_of, preprocess=lambda inputs: (inputs.float() - 100) / 20)
    assert result.teacher_errors < 15


def test_several_teachers_teach_by_their_average(teacher):
    assert distilled([teacher, teacher]).teacher_errors == distilled(teacher).teacher_errors


def test_the_table_counts_what_was_trained(result, teacher):
    table = result.table
    assert table.loc["teacher", "parameters"] == "15"
    assert float(table.loc["baseline", "test errors of 45"]) == pytest.approx(
        result.errors["baseline"].mean(), abs=0.06
    )
    shown = result._repr_html_()
    assert result.verdict.replace("'", "&#x27;") in shown
    assert "<table" in shown


def test_a_teacher_that_knows_less_than_the_baseline_is_said(teacher):
    wrong = nn.Linear(4, CLASSES)
    with torch.no_grad():
        wrong.weight.copy_(-teacher.weight)
    assert any("look for a better teacher" in note for note in distilled(wrong, epochs=20).notes)


def test_a_run_that_diverged_is_said(teacher):
    result = distilled(teacher, learning_rate=100.0, optimizer="sgd", weight_decay=10.0, epochs=20)
    assert any("lower learning_rate" in note for note in result.notes)


def test_the_student_goes_to_safetensors_with_its_settings(result, tmp_path):
    result.save(str(tmp_path / "student.safetensors"))
    assert_same_weights(tensors.load_tensors(tmp_path / "student.safetensors"), result.student.state_dict())


def test_the_student_goes_to_onnx_and_says_the_same_there(result, tmp_path):
    result.export(tmp_path / "student.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "student.onnx")
    (logits,) = session.run(None, {"images": TEST[0].numpy()})
    assert np.allclose(logits, result.student(TEST[0]).detach().numpy(), atol=1e-4)
    assert session.get_modelmeta().custom_metadata_map["verdict"] == result.verdict


def test_plots_are_of_the_errors(result):
    figure = result.plot("plotly")
    seed = next(line for line in figure.data if line.name == "seed 1")
    assert list(seed.y) == result.errors.loc[1, ["baseline", "distilled"]].tolist()


def test_losses_are_compared_on_the_same_baselines(teacher, result):
    compared = kd.which_loss(
        student=student, teacher=teacher, data=(TRAIN, TEST), objectives=("dist", "rkd"), seeds=3, **BRIEF
    )
    assert set(compared.errors.columns) == {"baseline", "hinton", "dist", "rkd"}
    assert compared.errors["baseline"].tolist() == result.errors["baseline"].tolist()
    assert "Holm" in compared.verdict
    assert len(compared.table) == 4


# --------------------------------------------------------------------------------------- what its user gets wrong


class Silent(nn.Module):
    def forward(self, inputs):
        return inputs[:, :CLASSES]


class Dictionary(nn.Linear):
    def forward(self, inputs):
        return {"logits": super().forward(inputs)}


IMAGES = torch.rand(30, 3, 8, 8), torch.arange(30) % CLASSES
FLOATS = {"data": (IMAGES, IMAGES)} | dict.fromkeys(
    ("student", "teacher"), nn.Sequential(nn.Flatten(), nn.Linear(192, CLASSES))
)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"data": TRAIN[0]}, "data is a pair"),
        ({"data": (TRAIN, None)}, "there is no test set"),
        ({"data": (TRAIN,)}, "data is a pair"),
        ({"data": TRAIN}, "data is a pair of arrays: give (train, test)"),
        ({"data": (TRAIN[0].numpy(), TRAIN[1].numpy())}, "data is a pair of arrays: give (train, test)"),
        ({"data": (TRAIN, (TEST[0], TEST[1][:5]))}, "45 test inputs, and labels of the shape (5,)"),
        ({"data": (TRAIN, (TEST[0][:, :3], TEST[1]))}, "training inputs have the shape (4,), test inputs (3,)"),
        ({"data": (TRAIN, (TEST[0], TEST[1] - 1))}, "a test label is -1"),
        ({"data": (TRAIN, (TEST[0], TEST[1] + 1))}, "labels go up to 3, and the networks know 3 classes"),
        ({"data": ((TRAIN[0], TRAIN[1].float()), TEST)}, "training labels are float32"),
        ({"data": ((TRAIN[0], nn.functional.one_hot(TRAIN[1])), TEST)}, "give class numbers"),
        ({"data": ((TRAIN[0][:0], TRAIN[1][:0]), TEST)}, "the training set is empty"),
        ({"data": ((TRAIN[0] / 0, TRAIN[1]), TEST)}, "no numbers"),
        ({"data": ((TRAIN[0].to(torch.uint8), TRAIN[1]), TEST)}, "inputs are uint8"),
        ({"data": ("train", TEST)}, "not a str"),
        ({"data": ([(object(), 1)], TEST)}, "do not stack"),
        ({"data": ([TRAIN[0][0]] * 3, TEST)}, "(input, label)"),
        ({"student": "resnet"}, "student is a torch module"),
        ({"student": lambda: 3}, "student makes a int"),
        ({"student": nn.Linear}, "student is called without arguments, and raises"),
        ({"student": Dictionary(4, CLASSES)}, "the student gives a dict: wrap it in a module"),
        ({"student": Silent()}, "no parameters"),
        ({"student": student().requires_grad_(False)}, "no parameters"),
        ({"student": nn.Linear(5, CLASSES)}, "the student cannot read inputs of the shape (2, 4)"),
        ({"student": nn.Linear(4, 7)}, "the student 7, the teacher 3"),
        ({"student": nn.Sequential(nn.Linear(4, CLASSES), nn.Unflatten(1, (1, CLASSES)))}, "a classifier gives logits"),
        ({"teacher": "resnet"}, "teacher is a trained torch module"),
        ({"teacher": None}, "or a list of several, not None"),
        ({"teacher": student}, "or a list of several, not a function"),
        ({"teacher": Dictionary(4, CLASSES)}, "the teacher gives a dict"),
        ({"teacher": []}, "teacher is a trained torch module"),
        ({"teacher": nn.Linear(4, 9)}, "the student 3, the teacher 9"),
        ({"preprocess": lambda inputs: inputs.no_such_thing}, "preprocess cannot read"),
        ({"class_names": ["a"]}, "label 2 has no name"),
        ({"seeds": 0}, "seeds must be at least 1"),
        ({"seeds": 1.5}, "seeds is how many"),
        ({"seeds": [0.5]}, "seeds is how many"),
        ({"seeds": [-1]}, "seed must be at least 0"),
        ({"temperature": 0}, "temperature must be above 0"),
        ({"alpha": 2}, "alpha must be at most 1"),
        ({"objective": "magic"}, "unknown objective 'magic'"),
        ({"objective": "attention"}, "compares maps"),
        ({"weights": {"beta": 1}}, "hinton has no weight 'beta'"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"epoch": 3}, "there is no setting called epoch"),
        ({"precision": "auto"}, "choose precision"),
        ({"jitter_pixels": 1}, "jitter_pixels changes images"),
        ({"flip": True}, "flip changes images"),
        ({"mixup": 0.2}, "mixup changes images"),
        (FLOATS | {"colour": 0.2}, "colour changes colours from 0 to 255"),
        (FLOATS | {"randaugment": 1}, "randaugment changes colours from 0 to 255"),
        ({"student": nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, CLASSES)), "batch_size": 53}, "another batch_size"),
    ],
)
def test_every_mistake_of_a_user_ends_in_a_sentence(teacher, changes, sentence):
    with pytest.raises(kd.LabError) as caught:
        distilled(**{"teacher": teacher, **changes})
    assert sentence in str(caught.value)


def test_a_file_is_named_for_what_is_written(result, tmp_path):
    for write, ending in ((result.save, ".safetensors"), (result.export, ".onnx")):
        with pytest.raises(kd.LabError, match=f"student.pt does not end in {ending}"):
            write(tmp_path / "student.pt")
    assert [*tmp_path.iterdir()] == []


def test_examples_that_were_trained_on_are_no_test_set(teacher, result):
    mixed = tuple(torch.cat([new, known[5:12]]) for new, known in zip(TEST, TRAIN, strict=True))
    for test, which in ((TRAIN, "All"), (mixed, f"7 of {len(TEST[1]) + 7}")):
        assert distilled(teacher, data=(TRAIN, test)).notes[0].startswith(f"{which} test examples are training")
    compared = kd.which_loss(student=student, teacher=teacher, data=(TRAIN, TRAIN), objectives="hinton", **BRIEF)
    assert compared.notes[0].startswith("All test examples are training")
    assert not any("training examples too" in note for note in result.notes)


@pytest.mark.parametrize(("objectives", "sentence"), [((), "objectives names at least one"), ("magic", "'magic'")])
def test_objectives_that_cannot_be_compared_end_in_a_sentence(teacher, objectives, sentence):
    with pytest.raises(kd.LabError, match=sentence):
        kd.which_loss(student=student, teacher=teacher, data=(TRAIN, TEST), objectives=objectives, **BRIEF)


def test_a_plot_without_what_draws_ends_in_a_sentence(result):
    with pytest.raises(kd.LabError, match="pip install"):
        result.plot("no_such_library")
