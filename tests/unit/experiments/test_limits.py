"""When does it not help? Its runs differ in what is asked alone, verdicts are scipy's, and what ships is current."""

import json

import pytest
from scipy.stats import ttest_rel
from tiny import LIMITS

from kd_core.base.config import differences
from kd_core.base.paths import ROOT
from kd_core.data.catalogue import info_of
from kd_core.experiments import table
from kd_core.experiments.defaults import network
from kd_core.experiments.limits import catalogue, outcome
from kd_core.experiments.limits.catalogue import BASELINE, NAMES, SCALES, SEEDS, limit
from kd_core.experiments.limits.outcome import Outcome, agreement_in_words, beside, verdict
from kd_core.experiments.story import baseline_beside

EVERY = [(name, dataset) for dataset in SCALES for name in NAMES]
ASKED = {
    "small": "distillation.temperature",
    "gap": "distillation.teachers",
    "fidelity": "training.jitter_pixels",
    "longer": "distillation.teachers",
    "smoothed": "distillation.teachers",
    "patience": "training.epochs",
}
"""The setting that the two students of a question differ in; of 'same' one is the other's baseline."""


def planned(name, dataset):
    given = limit(name, dataset)
    return given, table.plan(given.experiment, range(SEEDS))


@pytest.mark.parametrize(("name", "dataset"), EVERY)
def test_the_two_students_of_a_seed_differ_in_what_is_asked_alone(name, dataset):
    given, plan = planned(name, dataset)
    for seed in range(SEEDS):
        reference, main = (plan.to_train[plan.runs[line, seed]] for line in (given.reference, given.main))
        assert {reference.seed, main.seed} == {seed}, "the same start and order"
        assert main.training.validation_fraction == 0, "nothing is chosen"
        if name == "same":
            assert reference == baseline_beside(main)
        else:
            assert set(differences([reference, main])) == {ASKED[name]}


def test_the_assistant_learns_from_the_giant_and_teaches_the_dwarf_of_its_seed():
    _, plan = planned("gap", "digits")
    order = list(plan.to_train)
    for seed in range(SEEDS):
        (giant,) = plan.to_train[plan.runs["direct", seed]].distillation.teachers
        (assistant,) = plan.to_train[plan.runs["assisted", seed]].distillation.teachers
        taught = plan.to_train[assistant]
        assert (taught.role, taught.seed, taught.distillation.teachers) == ("distilled", seed, (giant,))
        assert order.index(giant) < order.index(assistant) < order.index(plan.runs["assisted", seed])


@pytest.mark.parametrize("dataset", SCALES)
def test_a_student_of_its_teachers_size_starts_elsewhere_than_its_teacher(dataset):
    _, plan = planned("same", dataset)
    for seed in range(SEEDS):
        teacher, student = (plan.to_train[plan.runs[line, seed]] for line in ("teacher", "again"))
        assert student.distillation.teachers == (plan.runs["teacher", seed],)
        assert (teacher.model, teacher.training) == (student.model, student.training)
        assert teacher.seed != student.seed
        assert student.distillation.alpha == 1


def test_experiments_share_the_runs_that_they_have_in_common():
    again, plain, long, hard = (
        next(line for line in limit(name, "digits").experiment.lines if line.label == label).make(2, ("first", "other"))
        for name, label in {"same": "again", "fidelity": "plain", "longer": "long", "smoothed": "hard"}.items()
    )
    assert again == plain
    assert long == hard


@pytest.mark.parametrize(("name", "dataset"), EVERY)
def test_every_experiment_has_its_question_answers_claims_and_words(name, dataset):
    given = limit(name, dataset)
    assert given.question.endswith("?")
    assert set(given.answers) == {"helps", "harms", "open"}
    assert given.claims
    for claim in given.claims:
        assert claim.expects in ("helps", "harms")
        assert claim.where
        assert len(claim.arxiv) == len("1503.02531")
    assert set(given.labels) == {line.label for line in given.experiment.lines}
    assert given.experiment.lines[0].make(0, ("teacher",)).role == BASELINE  # as table.Redone.dataset makes it
    assert "{" not in json.dumps([given.question, given.setting, *given.labels.values(), *given.answers.values()])
    assert info_of(dataset).label in given.setting


# ------------------------------------------------------------------------------------------------------- verdicts


def results(reference, main, agreeing=None):
    """Results of 'small' with these errors by seed; or of 'fidelity', with these counts of images agreed on too."""
    given = limit("fidelity" if agreeing else "small", "digits")
    both = (given.reference, given.main)
    errors = {label: {} for label in given.labels} | {
        line: dict(enumerate(each)) for line, each in zip(both, (reference, main), strict=True)
    }
    agree = {line: dict(enumerate(each)) for line, each in zip(both, agreeing, strict=True)} if agreeing else {}
    return given, Outcome(445, errors, agree, {}, "a machine")


@pytest.mark.parametrize(
    ("reference", "main", "word", "says"),
    [
        ((30, 31, 29, 30, 30), (20, 22, 19, 21, 20), "helps", "**It helps.** The student at T = 20 makes 9.6 fewer"),
        ((20, 22, 19, 21, 20), (30, 31, 29, 30, 30), "harms", "9.6 more test errors than the student at T = 4"),
        ((20, 30, 25, 28, 22), (21, 28, 27, 25, 22), "open", "**We cannot tell.** The student at T = 20 makes 0.4 few"),
        ((21, 28, 27, 25, 22), (20, 30, 25, 28, 22), "open", "makes 0.4 more test errors"),
        ((20, 21, 22), (21, 20, 22), "open", "makes as many test errors as"),
        ((20, 21, 22), (19, 20, 21), "open", "**We cannot tell.**"),  # three alike are luck in one of four cases
        ((20, 21), (1, 2), "open", "It takes 3 seeds"),
        ((), (), "open", "It takes 3 seeds"),
    ],
)
def test_a_verdict_is_the_side_of_0_on_which_the_interval_lies(reference, main, word, says):
    judgement = verdict(*results(reference, main))
    assert judgement.word == word
    assert says in judgement.sentence


def test_the_interval_of_a_verdict_is_scipys_of_paired_differences():
    reference, main = (30, 31, 27, 30, 35), (20, 25, 19, 24, 20)
    given, there = results(reference, main)
    paired = ttest_rel(reference, main).confidence_interval(0.95)
    judgement = verdict(given, there)
    assert judgement.saved.interval == pytest.approx((paired.low, paired.high))
    assert f"saves {paired.low:.1f} to {paired.high:.1f}" in judgement.sentence
    more = outcome.differences(given, there)[given.main]
    assert more.interval == pytest.approx((-paired.high, -paired.low))


def test_what_it_costs_is_stated_from_the_smaller_to_the_larger():
    reference, main = (20, 25, 19, 24, 20), (30, 31, 27, 30, 35)
    costs = ttest_rel(main, reference).confidence_interval(0.95)
    assert f"costs {costs.low:.1f} to {costs.high:.1f}" in verdict(*results(reference, main)).sentence


@pytest.mark.parametrize(
    ("agreeing", "says"),
    [
        (((400, 401, 399), (410, 412, 409)), "agrees with its teacher on 10.3 more of 445 test images than"),
        (((410, 412, 409), (400, 401, 399)), "on 10.3 fewer of 445 test images"),
        (((400, 410, 405), (403, 405, 409)), "we cannot tell"),
    ],
)
def test_agreement_is_judged_as_errors_are(agreeing, says):
    given, there = results((20, 21, 22), (21, 22, 20), agreeing)
    assert says in agreement_in_words(given, there)
    assert len(outcome.head(given, there)) == len(outcome.cells(given, there)[0]) == 4


def test_where_agreement_is_not_counted_nothing_is_said_of_it():
    assert agreement_in_words(*results((20, 21, 22), (21, 22, 20))) == ""


def test_a_claim_is_borne_out_contradicted_or_left_open():
    (claim,) = limit("small", "digits").claims
    sentences = [beside(claim, word) for word in ("harms", "open", "helps")]
    assert sentences == ["Ours agrees.", "Ours can neither confirm nor contradict it.", "Ours came out otherwise."]


# ------------------------------------------------------------------------------------------------------ what ships


def test_what_ships_is_of_the_settings_as_they_are():
    """A setting that changes takes its results away: make them anew with tools/benchmarks/limits.py."""
    shipped = json.loads(outcome.SHIPPED.read_text(encoding="utf-8"))
    assert set(shipped["digits"]) == set(NAMES)
    for dataset, results_of in shipped.items():
        for name, written in results_of.items():
            given = limit(name, dataset)
            there = outcome.shipped(given)
            assert there is not None, f"{name} on {dataset}"
            assert outcome.as_json(given, there) == written
            assert there.examples == info_of(dataset).test_examples
            assert {len(errors) for errors in there.errors.values()} == {SEEDS}
            assert bool(there.agreeing) == given.fidelity


def test_results_of_other_settings_are_never_shown(monkeypatch):
    monkeypatch.setattr(catalogue, "SCALES", {"digits": LIMITS})
    assert all(outcome.shipped(limit(name, "digits")) is None for name in NAMES)


def test_the_document_is_what_the_tool_writes(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "benchmarks"))
    from benchmarks import limits as tool

    assert tool.DOCUMENT.read_text(encoding="utf-8") == tool.document()


@pytest.mark.parametrize("name", catalogue.NAMES)
def test_a_pair_of_ones_own_is_in_all_roles_of_an_experiment(name):
    pair = catalogue.usual("cifar10").replace(teachers=("mine",), student=network("cnn 4-8"))
    given = catalogue.limit(name, "cifar10", pair)
    planned = table.plan(given.experiment, [0], ())
    students = {config.model.label for config in planned.to_train.values() if config.role != "teacher"}
    assert students == {"cnn 4-8", *(["cnn 8-16"] if name == "gap" else [])}
    taught_by = {teacher for config in planned.to_train.values() if config.distillation
                 for teacher in config.distillation.teachers}  # fmt: skip
    assert ("mine" in taught_by) == (name in ("small", "gap", "patience"))
    assert {config.training.validation_fraction for config in planned.to_train.values()} == {0}
    assert outcome.shipped(given) is None
    assert "ships" not in given.setting
    assert catalogue.limit(name, "digits", catalogue.usual("digits")).experiment.shows == (
        catalogue.limit(name, "digits").experiment.shows
    )
