"""Objectives: each against its formula written out in float64 numpy, what it must not change with, and its training."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr, softmax
from tiny import assert_same_weights, tiny_config

from kd_core.base.config import ConfigError
from kd_core.data.catalogue import TransferSetConfig
from kd_core.losses import logits
from kd_core.losses import objective as losses_objective
from kd_core.losses.catalogue import OBJECTIVES
from kd_core.losses.config import DistillationConfig
from kd_core.losses.hinton import ensemble_logits, soft_target_loss
from kd_core.losses.objectives.definition import Batch
from kd_core.models import build
from kd_core.training.config import RunConfig
from kd_core.training.loop import Training, train
from kd_core.training.records import EpochRecord

OF_LOGITS = [name for name, info in OBJECTIVES.items() if info.needs == "logits"]
"""The others, of features, have a file of their own."""
LABELLED = [name for name, info in OBJECTIVES.items() if info.needs_labels]
TEACHERS = ("someone",)


def batch(n=7, k=5, seed=0, scale=3.0):
    """Student's and teacher's logits and labels, float64."""
    random = np.random.default_rng(seed)
    return scale * random.normal(size=(n, k)), scale * random.normal(size=(n, k)), random.integers(0, k, n)


def settings(objective, **changes):
    return DistillationConfig(teachers=TEACHERS, objective=objective, **changes)


def evaluated(objective, student, teacher, labels, share=0.0, label_smoothing=0.0, **changes):
    student, teacher, labels = map(torch.from_numpy, (student, teacher, labels))
    config = settings(objective, **changes)
    given = Batch(student, teacher, labels if config.reads_labels else None, torch.arange(len(student)))
    return losses_objective.evaluate(given, config, share=share, label_smoothing=label_smoothing)


# ------------------------------------------------------------------------- the formulas, one example at a time


def kl(left, right):
    return float(rel_entr(left, right).sum())


def hinton(student, teacher, label, t, w):
    return t**2 * kl(softmax(teacher / t), softmax(student / t))


def logit_matching(student, teacher, label, t, w):
    return float(((student - teacher) ** 2).sum()) / (2 * len(student))


def without(probabilities, label):
    others = np.delete(probabilities, label)
    return others / others.sum()


def dkd(student, teacher, label, t, w):
    p, q = softmax(teacher / t), softmax(student / t)
    target = kl(np.array([p[label], 1 - p[label]]), np.array([q[label], 1 - q[label]]))
    return t**2 * (w["target"] * target + w["nontarget"] * kl(without(p, label), without(q, label)))


def logit_standardisation(student, teacher, label, t, w):
    z = [(row - row.mean()) / row.std(ddof=1) / t for row in (student, teacher)]
    return w["soft"] * t**2 * kl(softmax(z[1]), softmax(z[0]))


def jensen_shannon(student, teacher, label, t, w):
    p, q, beta = softmax(teacher / t), softmax(student / t), w["beta"]
    if beta in (0, 1):
        return t**2 * (kl(p, q) if beta == 0 else kl(q, p))
    mixture = beta * p + (1 - beta) * q
    return t**2 * (beta * kl(p, mixture) + (1 - beta) * kl(q, mixture))


def nkd(student, teacher, label, t, w):
    target = -softmax(teacher)[label] * log_softmax(student)[label]
    others = -(without(softmax(teacher / t), label) * np.log(without(softmax(student / t), label))).sum()
    return w["target"] * target + w["nontarget"] * t**2 * others


ONE_BY_ONE = {
    "hinton": hinton,
    "logit_matching": logit_matching,
    "dkd": dkd,
    "logit_standardisation": logit_standardisation,
    "jensen_shannon": jensen_shannon,
    "nkd": nkd,
}


def of_all(objective, student, teacher, labels, t, w):
    if objective == "dist":
        p, q = softmax(teacher / t, axis=1), softmax(student / t, axis=1)
        rows = np.mean([1 - np.corrcoef(left, right)[0, 1] for left, right in zip(p, q, strict=True)])
        columns = np.mean([1 - np.corrcoef(left, right)[0, 1] for left, right in zip(p.T, q.T, strict=True)])
        return t**2 * (w["between"] * rows + w["within"] * columns)
    examples = zip(student, teacher, labels, strict=True)
    return np.mean([ONE_BY_ONE[objective](*example, t, w) for example in examples])


WEIGHTS = {
    "dkd": {"target": 0.5, "nontarget": 3.0},
    "logit_standardisation": {"soft": 2.5},
    "dist": {"between": 2.0, "within": 0.25},
    "nkd": {"target": 0.75, "nontarget": 2.0},
    "jensen_shannon": {"beta": 0.3},
}
CASES = [(name, {}) for name in OF_LOGITS] + list(WEIGHTS.items())
CASES += [("jensen_shannon", {"beta": beta}) for beta in (0.0, 1.0)]


@pytest.mark.parametrize("temperature", [0.7, 1.0, 4.0])
@pytest.mark.parametrize(("objective", "weights"), CASES)
def test_an_objective_is_its_formula_in_float64(objective, weights, temperature):
    student, teacher, labels = batch()
    config = settings(objective, weights=weights, temperature=temperature, alpha=0.7)
    computed = evaluated(objective, student, teacher, labels, weights=weights, temperature=temperature, alpha=0.7)
    soft = of_all(objective, student, teacher, labels, temperature, config.all_weights)
    hard = np.mean([-log_softmax(row)[label] for row, label in zip(student, labels, strict=True)])
    shares = (0.7, 0.3) if config.info.mixed else (1.0, config.all_weights["hard"])
    assert float(computed.soft_loss) == pytest.approx(soft, rel=1e-9)
    assert float(computed.hard_loss) == pytest.approx(hard, rel=1e-12)
    assert float(computed.loss) == pytest.approx(shares[0] * soft + shares[1] * hard, rel=1e-9)


def test_the_documents_tell_of_every_objective_with_its_weights_at_first():
    text = (Path(__file__).parents[3] / "docs" / "objectives.md").read_text(encoding="utf-8")
    for name, info in OBJECTIVES.items():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
        weights = row.split(" | ")[3]
        for weight, known in info.weights.items():
            assert f"{weight} {known.default:g}" in weights
        assert ("alpha 0.9" in weights) == info.mixed
        assert info.temperature is None or f"T {info.temperature:g}" in weights
        assert not info.differs or f"- `{name}`: {info.differs}" in " ".join(text.split())


def test_every_objective_that_can_be_chosen_is_computed_and_tested():
    assert all(callable(info.soft_loss) for info in OBJECTIVES.values())
    assert {*OF_LOGITS} == {*ONE_BY_ONE, "dist"}


@pytest.mark.parametrize("objective", [name for name, info in OBJECTIVES.items() if info.uses_temperature])
def test_dropping_t_squared_drops_just_that_from_what_t_softens(objective):
    t, data = 3.0, batch()
    with_it, without_it = (evaluated(objective, *data, temperature=t, t_squared=on).soft_loss for on in (True, False))
    softened = with_it
    if objective == "nkd":  # its target part is not softened
        target = evaluated(objective, *data, temperature=t, weights={"nontarget": 0}).soft_loss
        softened, without_it = with_it - target, without_it - target
    assert float(softened) == pytest.approx(t**2 * float(without_it), rel=1e-12)


# ----------------------------------------------------------------------------------------------------- identities


def test_jensen_shannon_tends_to_the_forward_and_the_reverse_kl_in_proportion():
    """D(beta) / beta -> KL(p_t, p_s) for beta -> 0, and D(beta) / (1 - beta) -> KL(p_s, p_t) for beta -> 1."""
    student, teacher = map(torch.from_numpy, batch()[:2])
    for end, beta, share in ((0, 1e-7, 1e-7), (1, 1 - 1e-7, 1e-7)):
        near = logits.jensen_shannon(student, teacher, temperature=2.0, beta=beta) / share
        at = logits.jensen_shannon(student, teacher, temperature=2.0, beta=end)
        assert float(near) == pytest.approx(float(at), rel=1e-4)
    forward = soft_target_loss(student, teacher, temperature=2.0)
    reverse = soft_target_loss(teacher, student, temperature=2.0)
    assert float(logits.jensen_shannon(student, teacher, temperature=2.0, beta=0)) == float(forward)
    assert float(logits.jensen_shannon(student, teacher, temperature=2.0, beta=1)) == float(reverse)


def test_jensen_shannon_of_a_half_is_symmetric_and_bounded_by_log_2():
    student, teacher = map(torch.from_numpy, batch(scale=30.0)[:2])
    there = logits.jensen_shannon(student, teacher, temperature=1.0, beta=0.5)
    back = logits.jensen_shannon(teacher, student, temperature=1.0, beta=0.5)
    assert float(there) == pytest.approx(float(back), rel=1e-12)
    assert 0 < float(there) <= np.log(2)


def test_dkd_with_the_nontarget_part_weighted_as_the_teacher_has_it_is_hintons():
    """Equation 6: KL = TCKD + (1 - p_y) NCKD, for each example with its own p_y."""
    student, teacher, labels = batch()
    t = 2.5
    for i in range(len(labels)):
        rest = 1 - softmax(teacher[i] / t)[labels[i]]
        row = (torch.from_numpy(logits[i : i + 1]) for logits in (student, teacher, labels))
        parts = logits.decoupled(*row, temperature=t, target=1.0, nontarget=float(rest))
        assert float(parts) == pytest.approx(hinton(student[i], teacher[i], labels[i], t, {}), rel=1e-10)


def test_logit_matching_is_the_soft_losss_limit_for_high_t():
    student, teacher = (rows - rows.mean(axis=1, keepdims=True) for rows in batch()[:2])
    pair = torch.from_numpy(student), torch.from_numpy(teacher)
    limit = soft_target_loss(*pair, temperature=1e4)
    assert float(limit) == pytest.approx(float(logits.logit_matching(*pair)), rel=1e-3)


def test_logit_standardisation_is_blind_to_scale_and_shift_of_each_row():
    student, teacher, labels = batch()
    random = np.random.default_rng(5)
    moved = student * random.uniform(0.1, 9, (7, 1)) + random.normal(size=(7, 1))
    plain, other = (
        evaluated("logit_standardisation", student_logits, teacher, labels).soft_loss
        for student_logits in (student, moved)
    )
    assert float(plain) == pytest.approx(float(other), rel=1e-9)


def test_dist_ignores_scale_and_shift_of_probabilities_and_logit_shifts():
    """What it correlates are probabilities, so the scale of logits, which T sets, does count."""
    student, teacher, labels = batch()
    rows, others = torch.from_numpy(student), torch.from_numpy(teacher)
    plain = logits.pearson_distance(rows, others)
    assert float(logits.pearson_distance(7 * rows - 3, others)) == pytest.approx(float(plain), rel=1e-12)
    shifted = student + np.arange(7)[:, None]
    first, second = (
        evaluated("dist", student_logits, teacher, labels).soft_loss for student_logits in (student, shifted)
    )
    assert float(first) == pytest.approx(float(second), rel=1e-12)


@pytest.mark.parametrize("objective", [name for name in OF_LOGITS if name != "nkd"])
def test_equal_logits_leave_no_soft_loss_and_no_gradient_of_it(objective):
    _, teacher, labels = batch()
    student = torch.from_numpy(teacher).requires_grad_()
    given = Batch(student, student.detach(), torch.from_numpy(labels), torch.arange(len(labels)))
    soft_loss = losses_objective.evaluate(given, settings(objective)).soft_loss
    (gradient,) = torch.autograd.grad(soft_loss, student)
    assert soft_loss.item() == pytest.approx(0, abs=1e-12)
    assert float(gradient.abs().max()) == pytest.approx(0, abs=1e-9)


def test_equal_logits_leave_no_gradient_of_nkds_nontarget_part():
    _, teacher, labels = batch()
    student = torch.from_numpy(teacher).requires_grad_()
    own = torch.from_numpy(labels)
    part = logits.normalised(student, student.detach(), own, temperature=2.0, target=0.0, nontarget=1.0)
    (gradient,) = torch.autograd.grad(part, student)
    assert float(gradient.abs().max()) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("objective", "weights"), CASES)
def test_gradients_are_those_of_finite_differences(objective, weights):
    student, teacher, labels = map(torch.from_numpy, batch(n=4, k=3))
    config = settings(objective, weights=weights, alpha=0.7)

    def loss(z):
        return losses_objective.evaluate(Batch(z, teacher, labels, torch.arange(4)), config).loss

    assert torch.autograd.gradcheck(loss, student.requires_grad_())


@pytest.mark.parametrize("objective", OF_LOGITS)
def test_logits_as_large_as_in_training_give_finite_losses_and_gradients(objective):
    """A sure teacher, a student that is as sure of another class, one that says nothing yet, and a batch of one."""
    for rows in ([[90.0, -40.0, 0.0]], [[0.0, 0.0, 0.0], [-60.0, 80.0, 1.0]]):
        student = torch.tensor(rows, requires_grad=True)
        teacher = torch.tensor([[-50.0, 70.0, 3.0]] * len(rows))
        given = Batch(student, teacher, torch.ones(len(rows), dtype=torch.int64), torch.arange(len(rows)))
        loss = losses_objective.evaluate(given, settings(objective, temperature=1.0)).loss
        loss.backward()
        assert bool(loss.isfinite())
        assert bool(student.grad.isfinite().all())


# ---------------------------------------------------------------------------------- weights, schedules, smoothing


def test_the_hard_weight_scales_cross_entropy_and_at_zero_reads_no_label():
    student, teacher, labels = batch()
    twice = evaluated("dist", student, teacher, labels, weights={"hard": 2.0})
    assert float(twice.loss) == pytest.approx(float(twice.soft_loss + 2 * twice.hard_loss))
    none = evaluated("dist", student, teacher, labels, weights={"hard": 0.0})
    assert float(none.loss) == float(none.soft_loss)
    assert bool(none.hard_loss.isnan())


@pytest.mark.parametrize(("share", "temperature", "alpha"), [(0.0, 8.0, 1.0), (0.25, 6.25, 0.8), (1.0, 1.0, 0.2)])
def test_temperature_and_alpha_change_in_a_straight_line(share, temperature, alpha):
    data = batch()
    changing = {"temperature": 8.0, "final_temperature": 1.0, "alpha": 1.0, "final_alpha": 0.2}
    computed = evaluated("hinton", *data, share=share, **changing)
    fixed = evaluated("hinton", *data, temperature=temperature, alpha=alpha)
    assert float(computed.soft_loss) == pytest.approx(float(fixed.soft_loss), rel=1e-12)
    assert float(computed.loss) == pytest.approx(float(fixed.loss), rel=1e-12)
    assert not bool(computed.hard_loss.isnan())  # it is part of later steps, so of all means


def test_label_smoothing_spreads_its_share_of_the_label_over_all_classes():
    student, teacher, labels = batch()
    computed = evaluated("hinton", student, teacher, labels, label_smoothing=0.3)
    targets = 0.7 * np.eye(5)[labels] + 0.3 / 5
    assert float(computed.hard_loss) == pytest.approx(-(targets * log_softmax(student, axis=1)).sum(axis=1).mean())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"objective": "vid"}, f"unknown objective 'vid': choose one of {', '.join(OBJECTIVES)}"),
        ({"weights": {"target": 1}}, "hinton has no weight 'target': it has none"),
        (
            {"objective": "dkd", "weights": {"beta": 1}},
            "dkd has no weight 'beta': its weights are hard, target, nontarget",
        ),
        ({"objective": "dkd", "weights": {"target": -1}}, "weight target of dkd must be between 0 and 10000, got -1"),
        (
            {"objective": "jensen_shannon", "weights": {"beta": 1.5}},
            "weight beta of jensen_shannon must be between 0 and 1, got 1.5",
        ),
        (
            {"objective": "jensen_shannon", "weights": {"beta": float("nan")}},
            "weight beta of jensen_shannon must be between 0 and 1, got nan",
        ),
        (
            {"objective": "logit_matching", "final_temperature": 1},
            "logit_matching has no temperature: leave final_temperature out",
        ),
        ({"objective": "dist", "final_alpha": 0.5}, "dist is not weighed by alpha: leave final_alpha out"),
        ({"final_temperature": 0}, "final_temperature must be above 0, got 0"),
        ({"final_alpha": 2}, "final_alpha must be at most 1, got 2"),
    ],
)
def test_settings_that_an_objective_has_not_are_refused_in_one_sentence(changes, sentence):
    with pytest.raises(ConfigError) as refused:
        DistillationConfig(teachers=TEACHERS, **changes)
    assert str(refused.value) == sentence


@pytest.mark.parametrize("weights", [{"target": "much"}, 3, [["target", None]], [[1, 2, 3]], {"target": 10**999}])
def test_weights_that_are_no_numbers_by_name_are_refused_in_words(weights):
    with pytest.raises(ConfigError, match=r"^weights must be numbers by name, such as \{'nontarget': 4\}, got "):
        settings("dkd", weights=weights)


def test_equal_weights_are_equal_configs_however_they_are_written():
    assert settings("dkd", weights={"nontarget": 2.0, "hard": 3.0, "target": 1.0}) == settings(
        "dkd", weights=(("hard", 3), ("nontarget", 2))
    )
    config = settings("dkd", weights={"nontarget": 2.0})
    assert DistillationConfig.from_json(config.model_dump_json()) == config
    assert config.all_weights == {"hard": 1.0, "target": 1.0, "nontarget": 2.0}
    assert len({config, config.replace()}) == 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"objective": "dkd"}, "dkd reads the label of every example: choose another objective, or keep the labels"),
        ({"objective": "dist"}, "without labels dist can only learn with its weight hard at 0: set it to 0"),
        (
            {"alpha": 1.0, "final_alpha": 0.5},
            "without labels only a distilled student with alpha = 1 can learn: set alpha to 1",
        ),
    ],
)
def test_an_unlabelled_transfer_set_needs_an_objective_that_reads_no_labels(changes, sentence):
    part = TransferSetConfig(labelled=False)
    with pytest.raises(ConfigError) as refused:
        RunConfig(role="distilled", distillation=DistillationConfig(teachers=TEACHERS, **changes), transfer_set=part)
    assert str(refused.value) == sentence
    for config in (settings("dist", weights={"hard": 0}), settings("logit_matching", alpha=1)):
        assert RunConfig(role="distilled", distillation=config, transfer_set=part).transfer_set == part


def test_a_runs_label_names_what_its_objective_reads():
    def label(**changes):
        return tiny_config("distilled", teachers=TEACHERS).replace(distillation=settings(**changes)).label

    assert label(objective="hinton") == "distilled mlp 16, T 4, alpha 0.9"
    assert label(objective="dkd", weights={"nontarget": 4}) == "distilled mlp 16, DKD, T 4, nontarget 4"
    assert label(objective="logit_matching", alpha=1) == "distilled mlp 16, Logit matching, alpha 1"
    assert label(objective="hinton", final_temperature=1) == "distilled mlp 16, T 4 to 1, alpha 0.9"
    assert tiny_config("baseline", label_smoothing=0.1).label == "baseline mlp 16, label smoothing 0.1"


# ------------------------------------------------------------------------------------------------------ training


@pytest.fixture(scope="module")
def teachers(digits):
    models = []
    for seed in range(2):
        run = Training(tiny_config(epochs=3, seed=seed), digits)
        list(train(run))
        models.append(run.best_model())
    return models


def config_of(objective, teachers=1, **changes):
    config = tiny_config("distilled", teachers=tuple(f"t{i}" for i in range(teachers)), epochs=2)
    return config.replace(distillation=config.distillation.replace(objective=objective, **changes))


CHANGING = {"final_temperature": 1.0, "final_alpha": 0.0, "alpha": 1.0}


@pytest.mark.parametrize(
    ("objective", "members", "changes"),
    [*((name, 1, {}) for name in OF_LOGITS), ("hinton", 2, CHANGING), ("jensen_shannon", 1, CHANGING)],
)
def test_a_student_learns_by_every_objective_and_resumes_to_the_same_weights(
    digits, teachers, tmp_path, objective, members, changes
):
    config = config_of(objective, members, **changes)
    whole = Training(config, digits, teachers=teachers[:members])
    epochs = [record for record in train(whole) if isinstance(record, EpochRecord)]
    assert epochs[-1].validation_accuracy > 0.4
    assert epochs[-1].soft_loss is not None
    assert epochs[-1].hard_loss is not None

    first = Training(config, digits, teachers=teachers[:members])
    list(itertools.islice(train(first), 3))
    first.save(tmp_path / "checkpoint.pt")
    second = Training(config, digits, teachers=teachers[:members])
    second.restore(tmp_path / "checkpoint.pt")
    list(train(second))
    assert_same_weights(whole.model.state_dict(), second.model.state_dict())
    assert_same_weights(whole.best_weights, second.best_weights)


@pytest.mark.parametrize("objective", ["hinton", "logit_matching"])
def test_a_student_with_its_share_of_the_labels_at_zero_reads_none(digits, teachers, objective):
    config = config_of(objective, alpha=1.0)
    honest, poisoned = (Training(config, digits, teachers=teachers[:1]) for _ in range(2))
    poisoned.labels = torch.full_like(poisoned.labels, -(10**6))
    list(train(honest))
    list(train(poisoned))
    assert_same_weights(honest.model.state_dict(), poisoned.model.state_dict())


@pytest.mark.parametrize("jitter", [0, 1])
def test_an_ensemble_is_averaged_at_the_temperature_of_each_step(digits, teachers, jitter):
    config = config_of("hinton", 2, final_temperature=1.0)
    config = config.replace(training=config.training.replace(jitter_pixels=jitter))
    run = Training(config, digits, teachers=teachers)
    for share, temperature in ((0.0, 2.0), (1.0, 1.0)):
        run.step = round(share * (run.total_steps - 1))
        targets, _ = run.teaching(torch.arange(5), digits.normalise(run.images[:5]))
        members = torch.stack([build.logits_of(teacher, run.images[:5], digits.normalise) for teacher in teachers])
        expected = ensemble_logits(members, temperature=temperature, average="probabilities")
        torch.testing.assert_close(targets, expected, rtol=1e-5, atol=1e-5)


def test_an_objective_that_compares_logits_gets_the_teachers_own(digits, teachers):
    """Averaged as logits where they are several, and not shifted by the average's normalisation."""
    for members in (1, 2):
        run = Training(config_of("logit_matching", members), digits, teachers=teachers[:members])
        of_members = [build.logits_of(teacher, run.images[:9], digits.normalise) for teacher in teachers[:members]]
        torch.testing.assert_close(run.teacher_logits[:9], torch.stack(of_members).mean(0), rtol=1e-5, atol=1e-5)


def test_label_smoothing_is_a_setting_of_a_run_without_a_teacher(digits):
    config = tiny_config("baseline", label_smoothing=0.2)
    run = Training(config, digits)
    losses = run.batch_losses(torch.arange(64), None)
    rows = build.logits_of(run.model, run.images[:64], digits.normalise).double().numpy()
    targets = 0.8 * np.eye(10)[run.labels[:64].numpy()] + 0.02
    assert losses.loss.item() == pytest.approx(-(targets * log_softmax(rows, axis=1)).sum(axis=1).mean(), rel=1e-4)
    assert config != config.replace(training=config.training.replace(label_smoothing=0.0))


# ------------------------------------------------------------------------------------------------------- two classes


TWO_CLASSES = {
    "dkd": {"target": 0, "nontarget": 8},
    "nkd": {"target": 0, "nontarget": 3.5},
    "dist": {"between": 1, "within": 0},
    "logit_standardisation": {"soft": 9},
}
"""Objective -> its weights, without the parts that teach of two classes too."""


def test_every_objective_that_loses_something_with_two_classes_says_so():
    assert {name for name, info in OBJECTIVES.items() if info.of_two_classes} == TWO_CLASSES.keys()


@pytest.mark.parametrize("objective", TWO_CLASSES)
@pytest.mark.parametrize("classes", [2, 3])
def test_those_parts_teach_nothing_of_two_classes_and_something_of_three(objective, classes):
    student, teacher, labels = (torch.from_numpy(part) for part in batch(64, classes))
    student.requires_grad_()
    weights = {**TWO_CLASSES[objective], "hard": 0}
    given = Batch(student, teacher, labels, torch.arange(len(student)))
    losses_objective.evaluate(given, settings(objective, weights=weights), share=0.0).soft_loss.backward()
    assert (float(student.grad.abs().max()) < 1e-5) == (classes == 2)
