"""Advice after a run: each rule on cases whose truth is known, silent on a good run, and on real small runs."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats
from tiny import tiny_config, train_here

from kd_core.base.config import LabError
from kd_core.evaluation.statistics import McNemar
from kd_core.exchange import shipped
from kd_core.experiments.advice import after
from kd_core.experiments.advice.after import FLAT, SHARP, SOFT, WEAK, advise, evenness, pull, spread_mass
from kd_core.experiments.advice.evidence import Evidence, Judged, OnTheTestSet, Shown, can_be_read, evidence_of
from kd_core.experiments.defaults import TEMPERATURES
from kd_core.experiments.story import StoryConfig
from kd_core.losses.config import DistillationConfig
from kd_core.models.config import ModelConfig

N, K = 600, 10
LABELS = np.arange(N) % K


def sure_logits(height):
    """A teacher that says the label with this logit and all others with 0: its softmax is known in closed form."""
    return height * np.eye(K)[LABELS]


def share_of_others(height, temperature):
    return (K - 1) / (np.exp(height / temperature) + K - 1)


def wrong(logits, count):
    """The first so many examples called the next class."""
    turned = logits.copy()
    turned[:count] = np.roll(turned[:count], 1, axis=1)
    return turned


def epochs(errors, losses):
    return [
        {
            "epoch": n + 1,
            "step": 100 * (n + 1),
            "loss": loss,
            "soft_loss": loss,
            "hard_loss": loss,
            "validation_errors": count,
        }
        for n, (count, loss) in enumerate(zip(errors, losses, strict=True))
    ]


HEIGHT = 12.0
GENERATOR = np.random.default_rng(0)
TEACHER = sure_logits(HEIGHT) + GENERATOR.normal(0, 0.5, (N, K))
STUDENT = wrong(TEACHER + GENERATOR.normal(0, 0.4, (N, K)), 4)
BASELINE = wrong(1.5 * TEACHER + GENERATOR.normal(0, 1.5, (N, K)), 30)
STORY = StoryConfig.default("digits").replace(teachers=("teacher",), temperature=4.0)


def soft_loss(student, teacher, temperature):
    """T² KL(teacher, student) in float64 by scipy, a mean over the examples."""
    ours, theirs = (np.exp(logits / temperature) for logits in (student, teacher))
    ours, theirs = (powers / powers.sum(axis=1, keepdims=True) for powers in (ours, theirs))
    return temperature**2 * float(stats.entropy(theirs, ours, axis=1).mean())


UNSEEN = soft_loss(STUDENT, TEACHER, 4.0)


def good(story=STORY, **changes):
    """A run in whose numbers nothing is wrong: learned by heart, near its teacher, better than its baseline."""
    learned = UNSEEN / 4
    made = Evidence(
        run=story.student_runs(story.teachers)[-1],
        story=story,
        finished=True,
        epochs=epochs([20, 9, 6, 5, 5, 4, 5, 4], [learned * share for share in (40, 9, 2.5, 1.3, 1.2, 1.1, 1.05, 1)]),
        epochs_done=8.0,
        parameters=(1_000, 50_000),
        shown=Shown(TEACHER, LABELS),
        judged=Judged(LABELS, STUDENT, BASELINE, TEACHER),
        teacher_errors=(0, N),
        compared=McNemar(40, 9, 1e-5),
        pairs={0: (60, 29), 1: (58, 30), 2: (63, 31)},
    )
    return made._replace(**changes)


def only(evidence):
    """The one piece of advice that this evidence brings."""
    (advice,) = advise(evidence)
    assert advice.sentence.endswith(".")
    assert advice.evidence.endswith(".")
    assert (advice.next is None) == (advice.change == "")
    return advice


def changed(evidence, advice):
    """The settings in which the next experiment differs."""
    old, new = evidence.story, advice.next
    return {name for name in type(old).model_fields if getattr(old, name) != getattr(new, name)}


def test_of_a_good_run_nothing_is_said():
    assert advise(good()) == []


@pytest.mark.parametrize("objective", ["dkd", "nkd", "dist", "logit_matching", "crd", "rkd", "jensen_shannon"])
def test_a_good_run_of_another_objective_is_good_too(objective):
    assert advise(good(STORY.replace(objective=objective))) == []


def test_where_hardly_anything_is_known_nothing_is_said():
    assert advise(good(epochs=[], shown=None, judged=None, teacher_errors=None, compared=None, pairs={})) == []
    alone = Judged(LABELS, STUDENT, None, None)
    assert advise(good(judged=alone, shown=None, compared=None, pairs={}, teacher_errors=None)) == []


# ----------------------------------------------------------------------------------------------------- temperature


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 4.0, 50.0])
def test_mass_and_evenness_are_those_of_the_closed_form(temperature):
    share = share_of_others(8.0, temperature)
    assert spread_mass(sure_logits(8.0), temperature) == pytest.approx(share, rel=1e-9)
    entropy = stats.entropy([1 - share, *[share / (K - 1)] * (K - 1)], base=2)
    assert evenness(sure_logits(8.0), temperature) == pytest.approx(entropy / np.log2(K), rel=1e-9)


def height_of(share, temperature):
    """The logit that leaves just so much to the others at T."""
    return temperature * np.log((1 - share) * (K - 1) / share)


def told_by(height, temperature, **changes):
    return good(
        STORY.replace(temperature=temperature), shown=Shown(sure_logits(height), LABELS), judged=None, **changes
    )


def test_a_teacher_too_sure_at_this_t_is_named_with_the_first_t_that_suits():
    evidence = told_by(height_of(0.9 * SHARP, 1.0), 1.0)
    advice = only(evidence)
    assert advice.about == "sharp"
    assert f"{0.9 * SHARP:.2%}" in advice.evidence
    assert changed(evidence, advice) == {"temperature"}
    height = height_of(0.9 * SHARP, 1.0)
    expected = next(t for t in TEMPERATURES if t > 1 and share_of_others(height, t) >= SOFT)
    assert advice.next.temperature == expected
    assert advise(told_by(height, expected)) == []


def test_just_soft_enough_is_soft_enough():
    assert advise(told_by(height_of(1.1 * SHARP, 1.0), 1.0)) == []


def test_flat_targets_are_no_reason_to_lower_t_for_a_student_that_is_not_tiny():
    story = STORY.replace(temperature=100.0, student=ModelConfig(hidden=(100,)))
    assert advise(good(story, shown=Shown(sure_logits(6.0), LABELS), judged=None)) == []


def test_a_tiny_student_of_almost_uniform_targets_is_offered_a_lower_t():
    evidence = told_by(6.0, 100.0)
    advice = only(evidence)
    assert advice.about == "flat"
    assert changed(evidence, advice) == {"temperature"}
    assert evenness(sure_logits(6.0), advice.next.temperature) <= after.LESS_FLAT < FLAT
    warmer = next(t for t in TEMPERATURES if t > advice.next.temperature)
    assert evenness(sure_logits(6.0), warmer) > after.LESS_FLAT


@pytest.mark.parametrize("changes", [{"objective": "dkd"}, {"objective": "rkd"}, {"final_temperature": 2.0}])
def test_where_softmax_of_one_t_is_not_what_counts_the_temperature_is_let_be(changes):
    story = STORY.replace(temperature=0.5, **changes)
    assert advise(good(story, shown=Shown(sure_logits(30.0), LABELS), judged=None)) == []


# --------------------------------------------------------------------------------------------------- soft and hard


@pytest.mark.parametrize("t_squared", [True, False])
@pytest.mark.parametrize(("temperature", "alpha"), [(1.0, 0.5), (4.0, 0.9), (20.0, 0.05)])
def test_the_pull_is_the_ratio_of_both_losses_gradients_by_autograd(temperature, alpha, t_squared):
    student = torch.zeros(N, K, dtype=torch.float64, requires_grad=True)
    teacher, labels = torch.from_numpy(TEACHER), torch.from_numpy(LABELS)
    log_soft = torch.log_softmax(student / temperature, 1)
    soft = (torch.softmax(teacher / temperature, 1) * -log_soft).sum(1).mean() * (temperature**2 if t_squared else 1)
    hard = torch.nn.functional.cross_entropy(student, labels)
    sizes = [
        torch.autograd.grad(weight * loss, student)[0].norm() for weight, loss in ((alpha, soft), (1 - alpha, hard))
    ]
    ratio = pull(TEACHER, LABELS, temperature=temperature, alpha=alpha, t_squared=t_squared)
    assert ratio == pytest.approx(float(sizes[0] / sizes[1]), rel=1e-9)


def test_a_soft_loss_without_t_squared_that_hardly_pulls_gets_it_back():
    evidence = good(STORY.replace(temperature=8.0, alpha=0.3, t_squared=False), judged=None)
    advice = only(evidence)
    assert advice.about == "hard"
    assert changed(evidence, advice) == {"t_squared"}
    assert "0.0" in advice.evidence


@pytest.mark.parametrize("t_squared", [True, False])
def test_an_alpha_that_leaves_the_teacher_no_say_is_raised(t_squared):
    evidence = good(STORY.replace(temperature=2.0, alpha=0.01, t_squared=t_squared), judged=None)
    advice = only(evidence)
    assert advice.about == "hard"
    assert advice.next.alpha == 0.9
    assert advice.next.t_squared
    assert pull(TEACHER, LABELS, temperature=2.0, alpha=0.9, t_squared=True) > WEAK


def test_alpha_0_is_the_least_say_of_all_and_alpha_1_the_most():
    assert only(good(STORY.replace(alpha=0.0), judged=None)).about == "hard"
    assert advise(good(STORY.replace(alpha=1.0), judged=None)) == []


# ----------------------------------------------------------------------------------------------- length and capacity


def falling(*losses_of_epochs, errors=None):
    shares = losses_of_epochs
    return epochs(errors or [9] * len(shares), [UNSEEN * share for share in shares])


def test_a_still_falling_student_without_memorising_trains_twice_as_long():
    evidence = good(epochs=falling(8, 4, 2.4, 1.6, 1.1, 0.9))
    advice = only(evidence)
    assert advice.about == "short"
    assert changed(evidence, advice) == {"training"}
    assert advice.next.training.epochs == 2 * evidence.story.training.epochs
    assert "only 1.11 times" in advice.evidence
    assert "took 62% of the loss away" in advice.evidence  # 1 - 0.9 / 2.4


def test_a_loss_that_hardly_fell_in_few_steps_has_not_come_to_a_stand():
    slow = [record | {"step": record["epoch"] * 10} for record in falling(1.2, 1.1, 1.0, 0.95)]
    assert only(good(epochs=slow)).about == "short"


def test_a_single_epoch_is_too_short_whatever_came_before_it():
    assert only(good(epochs=falling(0.9))).about == "short"


def test_a_student_that_stands_still_far_from_its_teacher_is_too_small():
    far = TEACHER * 0.2
    left = soft_loss(far, TEACHER, 4.0)
    judged = Judged(LABELS, far, BASELINE, TEACHER)
    standing = epochs([9] * 6, [left * share for share in (2, 1.3, 1.1, 1.05, 1.02, 1)])
    evidence = good(epochs=standing, judged=judged)
    advice = only(evidence)
    assert advice.about == "small"
    assert changed(evidence, advice) == {"student"}
    assert advice.next.student == ModelConfig(hidden=(60,))
    share = left / soft_loss(np.zeros((N, K)), TEACHER, 4.0)
    assert f"still {share:.0%} of" in advice.evidence
    still_falling = epochs([9] * 6, [left * share for share in (5, 4, 3, 2, 1.5, 1)])
    assert only(evidence._replace(epochs=still_falling)).about == "short"
    assert advise(evidence._replace(parameters=(50_000, 50_000))) == []
    assert advise(evidence._replace(parameters=(1_000, None))) == []


def test_a_wider_student_is_proposed_only_where_a_network_has_a_width():
    far = TEACHER * 0.2
    standing = epochs([9] * 6, [soft_loss(far, TEACHER, 4.0) * share for share in (2, 1.3, 1.1, 1.05, 1.02, 1)])

    def proposed(student):
        story = STORY.replace(student=student)
        advice = only(good(story, epochs=standing, judged=Judged(LABELS, far, BASELINE, TEACHER)))
        assert advice.about == "small"
        return advice.change, advice.next

    change, story = proposed(ModelConfig(name="cnn", channels=(4, 8)))
    assert change
    assert story.student == ModelConfig(name="cnn", channels=(8, 16))
    assert proposed(ModelConfig(name="resnet18")) == ("", None)
    assert proposed(ModelConfig(hidden=(20_000,))) == ("", None)


def test_dropout_or_jitter_raises_the_loss_so_it_does_not_judge_them():
    shaken = STORY.replace(student=ModelConfig(hidden=(30,), dropout_hidden=0.5))
    assert advise(good(shaken, epochs=falling(0.9))) == []
    shifted = STORY.replace(training=STORY.training.replace(jitter_pixels=1))
    assert advise(good(shifted, epochs=falling(0.9))) == []


def test_the_length_of_another_objective_is_judged_by_its_hard_loss():
    hard_loss = -np.log(np.exp(STUDENT)[np.arange(N), LABELS] / np.exp(STUDENT).sum(1)).mean()
    story = STORY.replace(objective="crd")
    fit = after.fit_of(good(story, epochs=epochs([9] * 4, [hard_loss * share for share in (4, 3, 1, 0.8)])))
    assert fit.part == "hard"
    assert fit.gap == pytest.approx(1 / 0.8)
    assert fit.left is None


def test_errors_that_rise_while_the_loss_falls_are_overfitting():
    losses = [UNSEEN / 4 * share for share in (9, 3, 2, 1.5, 1.4, 1.3, 1.2, 1)]
    evidence = good(epochs=epochs([60, 30, 20, 40, 60, 70, 80, 80], losses))
    advice = only(evidence)
    assert advice.about == "long"
    assert changed(evidence, advice) == {"alpha"}
    assert advice.next.alpha == 1
    all_soft = only(evidence._replace(story=STORY.replace(alpha=1.0)))
    assert all_soft.next.training.epochs == 3
    assert advise(good(epochs=epochs([60, 30, 20, 21, 22, 24, 22, 26], losses))) == []


# ------------------------------------------------------------------------------------------------------ the teacher


def test_a_teacher_no_better_than_the_student_without_it_is_to_be_replaced():
    evidence = good(teacher_errors=(31, N))
    advice = only(evidence)
    assert advice.about == "teacher"
    assert "5.17%" in advice.evidence
    assert advice.next.teachers == ()
    assert advice.next.new_teachers == 3  # its recipe was the data set's own already


def test_a_teacher_trained_little_is_trained_anew_as_the_data_set_wants():
    story = STORY.replace(teacher_training=STORY.teacher_training.replace(epochs=1), teacher=ModelConfig(hidden=(40,)))
    advice = only(good(story, teacher_errors=(90, N)))
    default = StoryConfig.default("digits")
    assert (advice.next.teacher, advice.next.teacher_training) == (default.teacher, default.teacher_training)
    assert (advice.next.teachers, advice.next.new_teachers) == ((), 1)


def test_too_few_images_say_nothing_of_the_teacher():
    """With 3 errors of 60 by each, a teacher with half of the student's would make 3 or more in 19% of all cases."""
    few = Judged(LABELS[:60], wrong(TEACHER[:60], 1), wrong(TEACHER[:60], 3), TEACHER[:60])
    assert stats.binom.sf(2, 60, 1.5 / 60) > 0.05
    assert [advice for advice in advise(good(judged=few, teacher_errors=(3, 60))) if advice.about == "teacher"] == []


def test_a_difference_of_5_and_3_of_140_is_none():
    """Of a teacher with half of the errors, 5 beside 3 would come in 9% of all cases."""
    few = Judged(LABELS[:140], wrong(TEACHER[:140], 1), wrong(TEACHER[:140], 3), TEACHER[:140])
    assert stats.binom.sf(4, 8, 1 / 3) > 0.05
    assert [each for each in advise(good(judged=few, teacher_errors=(5, 140))) if each.about == "teacher"] == []


def test_a_brought_teacher_that_is_worse_is_the_first_thing_said():
    """553 errors to the baseline's 472, and a student that is worse than its baseline too."""
    tested = OnTheTestSet(553, 472, 10_000, McNemar(201, 120, 7e-6))
    worse = {"compared": McNemar(5, 40, 1e-6), "pairs": {0: (472, 507)}}
    brought = good(teacher_errors=None, teacher_tested=tested, teacher_external=True, **worse)
    first, second = advise(brought)
    assert (first.about, second.about) == ("teacher", "worse")
    assert "worse than the baseline" in first.sentence
    assert "553 wrong and the baseline 472; 201" in first.evidence
    assert (first.next.teachers, first.next.new_teachers, first.change) == ((), 1, "Train a teacher here")


def test_a_brought_teacher_that_cannot_be_told_apart_is_no_worse():
    few = OnTheTestSet(5, 3, 140, McNemar(4, 2, 0.69))
    assert advise(good(teacher_errors=None, teacher_tested=few, teacher_external=True)) == []
    many = OnTheTestSet(60, 58, N, McNemar(30, 28, 0.9))
    advice = only(good(teacher_errors=None, teacher_tested=many, teacher_external=True))
    assert "no better than the baseline" in advice.sentence


def test_the_next_step_names_only_what_its_networks_read():
    cnn = StoryConfig.default("cifar10").replace(teachers=("t",))
    mlp = cnn.replace(teacher=ModelConfig(hidden=(40,), dropout_hidden=0.5), student=ModelConfig(hidden=(9,)))
    assert {name for name in after.changes(mlp, cnn) if "." in name} == {
        "teacher.name",
        "student.name",
        "teacher.channels",
        "student.channels",
        "teacher.head",
        "student.head",
    }
    back = after.changes(cnn, mlp)
    assert back["student.hidden"] == ([800, 800], [9])
    assert not [name for name in back if name.endswith(".channels")]


def test_three_teachers_that_are_no_better_leave_nothing_to_propose():
    advice = only(good(STORY.replace(teachers=("a", "b", "c")), teacher_errors=(40, N)))
    assert advice.next is None


# --------------------------------------------------------------------------------------------------------- the gain


def test_a_gain_within_the_noise_asks_for_the_next_seed():
    evidence = good(compared=McNemar(14, 9, 0.4), pairs={0: (30, 25), 4: (28, 29)})
    advice = only(evidence)
    assert advice.about == "chance"
    assert changed(evidence, advice) == {"seed"}
    assert advice.next.seed == 5


@pytest.mark.parametrize("pairs", [{0: (384, 400)}, {seed: (30, 33 - 4 * (seed % 2)) for seed in range(5)}])
def test_a_loss_within_the_noise_is_not_called_a_gain(pairs):
    assert "gain" not in only(good(compared=McNemar(40, 56, 0.12), pairs=pairs)).sentence


def test_a_gain_of_one_seed_is_said_to_be_of_one_seed_and_asks_for_the_next():
    """The shipped digits: 19 errors to 12, p = 0.016; eight other seeds saved 2.0 (-1.1 to 5.1)."""
    evidence = good(compared=McNemar(8, 1, 0.016), pairs={0: (19, 12)})
    advice = only(evidence)
    assert "better than its baseline on this seed" in advice.sentence
    assert advice.next.seed == 1


def test_with_several_seeds_their_interval_counts_and_not_the_one_test():
    saved = {0: (30, 25), 1: (33, 26), 2: (29, 25)}
    assert advise(good(compared=McNemar(14, 9, 0.4), pairs=saved)) == []
    mixed = {0: (30, 25), 1: (28, 33), 2: (29, 25)}
    advice = only(good(compared=McNemar(40, 9, 1e-5), pairs=mixed))
    differences = [5, -5, 4]
    interval = stats.t.interval(0.95, 2, loc=np.mean(differences), scale=stats.sem(differences))
    assert f"95% interval {interval[0]:.1f} to {interval[1]:.1f}" in advice.evidence
    assert advice.next.seed == 3


def test_after_five_seeds_no_more_are_asked_for():
    level = {seed: (30, 30 + (-1) ** seed) for seed in range(5)}
    assert only(good(pairs=level)).next is None


def test_a_student_worse_than_its_baseline_is_said_to_be():
    worse = {"compared": McNemar(5, 40, 1e-6), "pairs": {0: (29, 60)}}
    advice = only(good(**worse))
    assert (advice.about, advice.next.alpha) == ("worse", 0.45)
    assert "on this seed" in advice.sentence
    other = only(good(STORY.replace(objective="crd"), **worse))
    assert other.next.objective == "hinton"


def test_a_run_that_was_stopped_is_asked_to_go_all_the_way_before_anything_else():
    evidence = good(finished=False, epochs=falling(8, 4, 2, 1), epochs_done=4.0)
    advice = only(evidence)
    assert advice.about == "stopped"
    assert advice.next == evidence.story


def test_a_stopped_teacher_is_named_and_a_whole_one_is_suggested():
    advice = only(good(teacher_stopped="stopped early, at 3 of 20 epochs"))
    assert advice.about == "teacher stopped"
    assert "at 3 of 20 epochs" in advice.evidence
    assert (advice.next.teachers, advice.next.teacher) == ((), STORY.teacher)


def test_the_most_important_comes_first_and_there_are_never_too_many():
    story = STORY.replace(temperature=0.5, alpha=0.01)
    ranked = advise(
        good(
            story,
            epochs=epochs([9] * 6, [8, 6, 5, 3, 2, 1]),
            teacher_errors=(200, N),
            compared=McNemar(3, 3, 1.0),
            shown=Shown(sure_logits(40.0), LABELS),
        )
    )
    assert [advice.about for advice in ranked] == ["teacher", "sharp", "hard", "short"]
    assert len(ranked) == after.MOST


# -------------------------------------------------------------------------------------------------------- real runs


SHIPPED = shipped.FOLDER


@pytest.fixture
def advice_after(store, monkeypatch):
    """advice_after(changes of the story) -> the advice on digits from the shipped teacher, by a run of a second."""
    monkeypatch.setattr(shipped, "FOLDER", SHIPPED)
    shipped.take_in(store)
    teacher = next(run for run in store.runs() if run.config.role == "teacher" and run.config.dataset == "digits")
    default = StoryConfig.default("digits").replace(teachers=(teacher.id,))

    def tell(epochs, **changes):
        training = default.training.replace(epochs=epochs, precision="float32", memory_format="contiguous")  # settled
        (_, config) = default.replace(training=training, **changes).student_runs((teacher.id,))
        return advise(evidence_of(store, store.get(train_here(store, config))))

    return tell


def test_what_is_no_distilled_student_is_refused_in_a_sentence(store):
    run = store.get(train_here(store, tiny_config(epochs=1)))
    with pytest.raises(LabError, match="no distilled student"):
        evidence_of(store, run)


def test_a_mistake_made_on_purpose_is_no_matter_for_advice(store):
    distillation = DistillationConfig(teachers=("t",), t_squared=False)
    made = {
        name: tiny_config("baseline").replace(role="distilled", distillation=distillation, mistake=mistake)
        for name, mistake in (("right", None), ("wrong", "no_t_squared"))
    }
    store.create(made)
    results = {"test_errors": 1, "test_examples": 10, "parameters": 1, "epochs": 2.0}
    store.apply("right", {"kind": "finished", "results": results})
    store.apply("wrong", {"kind": "finished", "results": results})
    assert can_be_read(store.get("right"))
    assert not can_be_read(store.get("wrong"))


def test_of_two_classes_the_advice_is_hintons_objective(monkeypatch):
    of_two = SimpleNamespace(classes=2)
    monkeypatch.setattr(after, "info_of", lambda name: of_two)
    (advice,) = [
        advice for advice in after.advise(good(STORY.replace(objective="dkd"))) if advice.about == "two classes"
    ]
    assert (advice.next.objective, "its gradient is 0" in advice.evidence) == ("hinton", True)
    assert "two classes" not in [advice.about for advice in after.advise(good())]
