"""What may be said of measured numbers: speed against its null, the gap to the teacher, several seeds."""

import numpy as np
import pytest
from measured import busy, machine
from scipy.stats import ttest_rel

from kd_core.evaluation.claims import (
    NO_DIFFERENCE,
    SeedDifference,
    SpeedClaim,
    gap_closed,
    in_figures,
    over_seeds,
    paces_ms,
    seed_difference,
    speed_claim,
    times,
)


def test_a_quiet_machine_tells_a_ratio_with_its_interval():
    claim = speed_claim(machine({"teacher": 1.7, "student": 1.0}), "student", "teacher")
    assert claim.measurable
    assert claim.low < 1.7 < claim.high
    assert claim.ratio == pytest.approx(1.7, rel=0.02)
    assert claim.sentence.startswith("**1.")
    assert "times** as fast (95% interval 1." in claim.sentence


def test_a_slower_student_is_said_to_be_slower():
    claim = SpeedClaim(0.5, 0.4, 0.8, (1.0, 0.99, 1.01))
    assert claim.sentence == "**2 times** as slow (95% interval 1.25 to 2.50)"


def test_a_noisy_machine_measures_no_difference():
    """One median over the other says 1.5 times and more; a model against itself says so too, now and then."""
    claim = speed_claim(busy({"teacher": 1.3, "student": 1.0}), "student", "teacher")
    assert not claim.measurable
    assert claim.sentence == NO_DIFFERENCE
    assert claim.cell.endswith("not measurable")


@pytest.mark.parametrize(
    ("claim", "null", "measurable"),
    [
        ((1.88, 1.63, 16.9), (1.16, 0.76, 11.7), False),  # a class at work: the null covers the claim
        ((0.60, 0.50, 0.70), (1.16, 0.76, 11.7), False),  # whichever of two equal models came first
        ((1.05, 0.98, 1.12), (1.00, 0.99, 1.01), False),  # its own interval covers 1
        ((1.15, 1.12, 1.18), (1.20, 1.10, 1.30), False),  # a null that is off by more than the claim
        ((1.70, 1.66, 1.75), (1.01, 0.99, 1.04), True),
        ((0.60, 0.58, 0.62), (1.01, 0.99, 1.04), True),
    ],
)
def test_a_claim_that_the_null_covers_is_no_claim(claim, null, measurable):
    assert SpeedClaim(*claim, null).measurable == measurable


def test_of_what_was_not_timed_there_is_no_claim():
    speed = machine({"teacher": 1.7, "student": 1.0})
    assert speed_claim(speed, "student", "stranger") is None
    assert speed_claim(speed, "student", "teacher", runtime="onnx") is None
    assert speed_claim(speed, "student", "teacher", batch=512) is None


@pytest.mark.parametrize("batch", [1, 64])
def test_the_quotient_of_two_shown_times_is_the_ratio_beside_them(batch):
    speed = machine({"teacher": 1.7, "baseline": 1.0, "student": 0.9}, 0.4)
    shown = times(speed, ["teacher", "baseline", "student"], batch=batch)
    for student in ("baseline", "student"):
        claim = speed_claim(speed, student, "teacher", batch=batch)
        assert claim.measurable
        assert shown["teacher"]["latency_ms_p50"] / shown[student]["latency_ms_p50"] == pytest.approx(claim.ratio)
        assert shown[student]["images_per_second"] / shown["teacher"]["images_per_second"] == pytest.approx(claim.ratio)
        assert shown[student]["latency_ms_p50"] <= shown[student]["latency_ms_p95"]
    own = speed["runtimes"]["teacher"]["pytorch"][str(batch)]
    assert shown["teacher"]["latency_ms_p50"] == own["latency_ms_p50"]


def test_what_was_not_timed_so_has_no_time():
    assert times(machine({"teacher": 1.7, "student": 1.0}), ["teacher", "student"], batch=512) == {}


def test_paces_are_the_shown_times_and_level_what_cannot_be_told_apart():
    speed = machine({"teacher": 1.7, "baseline": 1.0, "student": 1.0})
    ids = ["teacher", "baseline", "student"]
    paces, shown = paces_ms(speed, ids), {name: row["latency_ms_p50"] for name, row in times(speed, ids).items()}
    assert paces["baseline"] == paces["student"] == min(shown.values())
    assert paces["teacher"] == shown["teacher"]


def test_on_a_noisy_machine_all_times_are_level():
    speed = busy({"teacher": 1.3, "student": 1.0})
    assert len(set(paces_ms(speed, ["teacher", "student"]).values())) == 1
    assert len({row["latency_ms_p50"] for row in times(speed, ["teacher", "student"]).values()}) == 1


@pytest.mark.parametrize(
    ("value", "column", "written"),
    [
        (17.012482, "ms", "17.0"),
        (5.072219e-16, "negative log-likelihood, nats", "< 0.0001"),
        (5.072219e-16, "p", "< 0.0001"),
        (0.0162, "p", "0.016"),
        (1.7283, "", "1.73"),
        (0.083219, "", "0.0832"),
        (99.347, "agreement, %", "99.35"),
        (2_395_210, "parameters", "2,395,210"),
        (np.float64(2395210.0), "parameters", "2,395,210"),
        (23456.7, "", "23,457"),
        (-1.234, "", "-1.23"),
        (0.0, "", "0"),
        (1.0, "T", "1"),
        (float("nan"), "", "–"),
        (None, "", "–"),
        ("teacher 4f2a", "", "teacher 4f2a"),
    ],
)
def test_numbers_are_written_for_people(value, column, written):
    assert in_figures(value, column) == written


@pytest.mark.parametrize(
    ("errors", "start"),
    [
        ((65, 154, 74), "closes **80 of the 89** errors between baseline and teacher (90%)"),
        (
            (65, 154, 60),
            "closes **all** of the 89 errors between baseline and teacher and makes 5 errors fewer than its",
        ),
        (
            (65, 154, 160),
            "closes **none** of the 89 errors between baseline and teacher and makes 6 errors more than its",
        ),
        ((65, 154, 154), "closes **none** of the 89 errors between baseline and teacher"),
        ((65, 154, 65), "closes **89 of the 89** errors between baseline and teacher (100%)"),
        ((20, 19, 18), "makes 1 error fewer than its baseline, which is no worse than the teacher: there is no gap"),
        ((19, 19, 19), "makes as many errors as its baseline, which is no worse than the teacher: there is no gap"),
    ],
)
def test_the_share_of_the_gap_says_what_the_teacher_added(errors, start):
    assert gap_closed(*errors).startswith(start)


def test_a_difference_over_seeds_is_paired_with_students_interval():
    generator = np.random.default_rng(0)
    fewer, more = generator.normal(100, 10, 5), generator.normal(115, 10, 5)
    difference = seed_difference(dict(enumerate(fewer)), dict(enumerate(more)))
    interval = ttest_rel(more, fewer).confidence_interval(0.95)
    assert difference.mean == pytest.approx((more - fewer).mean())
    assert difference.interval == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize(
    ("saved", "part"),
    [
        ((2.0, (-1.1, 5.1)), "makes 2.0 test errors fewer than its baseline on average (95% interval -1.1 to 5.1, "),
        ((2.0, (1.1, 2.9)), "Student's t): it is better."),
        ((2.0, (-1.1, 5.1)), "Student's t): that could be luck."),
        ((-2.0, (-3.0, -1.0)), "makes 2.0 test errors more than its baseline on average (95% interval 1.0 to 3.0, "),
        ((-2.0, (-3.0, -1.0)), "Student's t): it is worse."),
        ((0.0, (-2.0, 2.0)), "student makes as many test errors as its baseline on average (95% interval -2.0 to 2.0"),
        ((7.0, None), "It takes 3 seeds to say how sure that is."),
    ],
)
def test_a_verdict_over_seeds_says_whether_it_could_be_luck(saved, part):
    mean, interval = saved
    assert part in over_seeds(SeedDifference(dict.fromkeys(range(2 if interval is None else 8), mean), mean, interval))


def test_a_single_seed_is_called_so():
    verdict = over_seeds(seed_difference({0: 12}, {0: 19}))
    assert verdict.startswith(
        "On this seed the distilled student makes 7 test errors fewer than its baseline. It takes 3"
    )
    level = over_seeds(seed_difference({0: 12}, {0: 12}))
    assert level.startswith("On this seed the distilled student makes as many test errors as its baseline.")
