"""The objectives as modules for one's own loop: they are the app's own losses, and keep the teacher as it is."""

import pytest
import torch
from torch import nn

import kd_core as kd
from kd_core.base.config import ConfigError
from kd_core.losses.catalogue import OBJECTIVES

OF_LOGITS = [name for name, info in OBJECTIVES.items() if info.needs == "logits"]
OF_FEATURES = [name for name, info in OBJECTIVES.items() if info.needs != "logits"]
GENERATOR = torch.Generator().manual_seed(0)
STUDENT, TEACHER = (3 * torch.randn(8, 5, generator=GENERATOR) for _ in range(2))
LABELS = torch.arange(8) % 5


def convolutional(channels):
    layers = nn.Conv2d(1, channels, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
    return kd.with_stages(nn.Sequential(*layers, nn.Linear(4 * channels, 5)), ["1"])


def test_hintons_module_is_his_loss():
    ours = kd.losses.DistillationLoss(temperature=3, alpha=0.6)(STUDENT, TEACHER, LABELS)
    assert torch.equal(ours, kd.losses.distillation_loss(STUDENT, TEACHER, LABELS, temperature=3, alpha=0.6).loss)


def test_modules_of_other_objectives_weigh_their_functions():
    settings = {"target": 1.0, "nontarget": 4.0, "temperature": 4.0}
    soft = kd.losses.dkd(STUDENT, TEACHER, LABELS, **settings)
    hard = nn.functional.cross_entropy(STUDENT, LABELS)
    parts = kd.losses.DistillationLoss("dkd", weights={"nontarget": 4}).parts(STUDENT, TEACHER, LABELS)
    assert float(parts.loss) == pytest.approx(float(soft + hard))


@pytest.mark.parametrize("objective", OF_LOGITS)
def test_every_objective_of_logits_leads_to_the_student_alone(objective):
    student = STUDENT.clone().requires_grad_(True)
    kd.losses.DistillationLoss(objective)(student, TEACHER, LABELS).backward()
    assert student.grad.abs().sum() > 0


@pytest.mark.parametrize("objective", [*OF_LOGITS, *OF_FEATURES])
def test_a_distiller_teaches_by_every_objective_and_leaves_the_teacher_alone(objective):
    student, teacher = convolutional(2), convolutional(4)
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    images = torch.randn(8, 1, 6, 6, generator=GENERATOR)
    distiller = kd.Distiller(student, teacher, objective, example=images[:2], examples=8).train()
    assert not teacher.training
    losses = distiller(images, LABELS, torch.arange(8))
    losses.loss.backward()
    torch.optim.SGD(distiller.parameters(), 0.1).step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
    assert not any(
        "teacher" in name for name in distiller.state_dict() if "teacher_bank" not in name and "embed" not in name
    )
    assert student[0].weight.grad is not None


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ((STUDENT, TEACHER[:, :4], LABELS), "one shape"),
        ((STUDENT, TEACHER.clone().requires_grad_(True), LABELS), "no_grad"),
        ((STUDENT, TEACHER, None), "reads labels"),
        ((STUDENT, TEACHER, LABELS.float()), "class numbers"),
        ((STUDENT, TEACHER, LABELS[:3]), "class numbers"),
    ],
)
def test_what_does_not_fit_ends_in_a_sentence(given, sentence):
    with pytest.raises(ConfigError, match=sentence):
        kd.losses.DistillationLoss()(*given)


def test_without_labels_alpha_is_1():
    assert kd.losses.DistillationLoss(alpha=1)(STUDENT, TEACHER) > 0


def test_a_loss_of_features_asks_for_the_networks():
    with pytest.raises(ConfigError, match="Distiller"):
        kd.losses.DistillationLoss("rkd")
    with pytest.raises(ConfigError, match="example"):
        kd.Distiller(nn.Linear(4, 5), nn.Linear(4, 5), "rkd")
    with pytest.raises(ConfigError, match="with_stages"):
        kd.Distiller(nn.Linear(4, 5), nn.Linear(4, 5), "attention", example=torch.zeros(2, 4))


@pytest.mark.parametrize("module", [kd, kd.losses])
def test_every_public_name_is_there(module):
    assert all(getattr(module, name) is not None for name in module.PUBLIC)
    assert set(module.PUBLIC) <= set(dir(module))
    with pytest.raises(AttributeError):
        module.no_such_name  # noqa: B018
