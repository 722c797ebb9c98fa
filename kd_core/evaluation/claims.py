"""What measured numbers allow one to say, and how they are written: speed, the gap to the teacher, several seeds.

Pages, reports and the shell take their figures and sentences from here, so that no two of them differ. Nothing is
measured here, and no torch is imported.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kd_core.base.templates import Said, counted, said
from kd_core.evaluation.statistics import FEWEST_SEEDS, SURE, mean_interval, sign_test

if TYPE_CHECKING:
    from kd_core.evaluation.speed import Speeds

RUNTIMES = {"pytorch": "PyTorch", "onnx": "ONNX Runtime", "onnx_int8": "ONNX Runtime, int8"}
NO_DIFFERENCE = said("no difference in speed could be measured")


def in_figures(value: Any, column: str = "") -> Any:
    """Write a number for people: counts whole, the rest to three figures, no exponent; text stays as it is.

    column: what the number is of; p has two figures, what ends in % two decimals. Missing numbers are a dash.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, str | bool | np.bool_):
        return value
    if float(value).is_integer() or abs(value) >= 100:
        return f"{value:,.0f}"
    if 0 < value < 1e-4:
        return "< 0.0001"
    if column.endswith("%"):
        return f"{value:.2f}"
    figures = 2 if column == "p" else 3
    return f"{value:.{max(0, min(4, figures - 1 - math.floor(math.log10(abs(value)))))}f}"


# ---------------------------------------------------------------------------------------------------------- speed


@dataclass(frozen=True)
class SpeedClaim:
    """How many times as fast as another a model is, with its 95% interval, of both models' seconds in the same rounds.

    null: (ratio, low, high) of a model against itself, measured in these rounds.
    """

    ratio: float
    low: float
    high: float
    null: tuple[float, float, float]

    @property
    def measurable(self) -> bool:
        """Whether it is more than noise: its interval leaves out 1, and a model against itself never reads so much.

        Which of two equal models comes first means nothing, so the null's interval is taken both ways.
        """
        reach = max(self.null[2], 1 / self.null[1])
        return not (self.low <= 1 <= self.high or 1 / reach <= self.ratio <= reach)

    @property
    def cell(self) -> Said:
        """Such as '1.73 (1.70 to 1.76)', for a table."""
        figures = {"ratio": in_figures(self.ratio), "low": in_figures(self.low), "high": in_figures(self.high)}
        if self.measurable:
            return said("{ratio} ({low} to {high})", **figures)
        return said("{ratio} ({low} to {high}), not measurable", **figures)

    @property
    def is_faster(self) -> bool:
        """Whether it is the faster of the two, be the difference measurable or not."""
        return self.ratio > 1

    @property
    def figures(self) -> dict[str, str]:
        """How many times as fast it is, or as slow: ratio, low and high."""
        if self.is_faster:
            ratio, low, high = self.ratio, self.low, self.high
        else:
            ratio, low, high = 1 / self.ratio, 1 / self.high, 1 / self.low
        return {"ratio": in_figures(ratio), "low": in_figures(low), "high": in_figures(high)}

    @property
    def sentence(self) -> Said:
        """Such as '**1.73 times** as fast (95% interval 1.70 to 1.76)', in Markdown, or NO_DIFFERENCE."""
        if not self.measurable:
            return NO_DIFFERENCE
        if self.is_faster:
            return said("**{ratio} times** as fast (95% interval {low} to {high})", **self.figures)
        return said("**{ratio} times** as slow (95% interval {low} to {high})", **self.figures)


def speed_claim(
    speed: "Speeds", run_id: str, other: str, *, runtime: str = "pytorch", batch: int = 1
) -> SpeedClaim | None:
    """Return how many times as fast as the other a run is; None where not both were timed."""
    measured = speed["ratios"].get(runtime, {}).get(str(batch), {}).get(other, {}).get(run_id)
    null = speed["itself"].get(str(batch))
    if not measured or not null:
        return None
    ratio, low, high = measured
    return SpeedClaim(ratio, low, high, (null[0], null[1], null[2]))


def null_said(speed: "Speeds") -> Said:
    """Say what the measurement gives for a model against itself, and what follows from that."""
    ratio, low, high = map(in_figures, speed["itself"]["1"])
    return said(
        "The first model measured against itself in the same rounds: {ratio}, 95% interval {low} to {high}. A ratio"
        " that is no farther from 1 than that, or whose own interval holds 1, is noise: not measurable.",
        ratio=ratio,
        low=low,
        high=high,
    )


TIMES_SAID = said(
    "Times: of the first model the median; of the others what the paired ratio makes of it, level where no difference"
    " could be measured."
)


def times(
    speed: "Speeds", run_ids: Sequence[str], *, runtime: str = "pytorch", batch: int = 1
) -> dict[str, dict[str, float]]:
    """Return what a call takes, by run, as shown everywhere: latency_ms_p50, _p95, _spread, images_per_second.

    As TIMES_SAID says it, so that the quotient of two figures is the ratio that stands beside them; p95 and spread are
    in proportion. Left out is what was not timed so; a run without a ratio to the first has its own median.
    """
    measured = {run_id: speed["runtimes"][run_id].get(runtime, {}).get(str(batch)) for run_id in run_ids}
    shown, first = {}, measured[run_ids[0]]
    for run_id, own in measured.items():
        if own is None:
            continue
        claim, median = speed_claim(speed, run_id, run_ids[0], runtime=runtime, batch=batch), own["latency_ms_p50"]
        if claim is not None and first is not None:
            median = first["latency_ms_p50"] / (claim.ratio if claim.measurable else 1.0)
        shown[run_id] = {
            "latency_ms_p50": median,
            "latency_ms_p95": own["latency_ms_p95"] * median / own["latency_ms_p50"],
            "latency_ms_spread": own["latency_ms_spread"] * median / own["latency_ms_p50"],
            "images_per_second": 1e3 * batch / median,
        }
    return shown


def paces_ms(speed: "Speeds", run_ids: Sequence[str]) -> dict[str, float]:
    """Return milliseconds of one image as models race: the times shown, level where they cannot be told apart."""
    shown = {run_id: timing["latency_ms_p50"] for run_id, timing in times(speed, run_ids).items()}
    leaders: list[str] = []
    level = {}
    for run_id in sorted(shown, key=shown.__getitem__):
        claims = ((leader, speed_claim(speed, run_id, leader)) for leader in reversed(leaders))
        leader = next((leader for leader, claim in claims if claim and not claim.measurable), run_id)
        leaders += [leader] if leader == run_id else []
        level[run_id] = shown[leader]
    return level


# ------------------------------------------------------------------------------------- what the teacher has added


def gap_closed(teacher: int, baseline: int, distilled: int) -> Said:
    """Say how much of the gap between baseline and teacher the student closes, in Markdown, to follow 'it'.

    All three are test errors on the same images. A share of the teacher's accuracy would flatter: the baseline keeps
    nearly as much of it.
    """
    gap, saved = baseline - teacher, baseline - distilled
    if gap <= 0:
        return said(
            "{than_its_baseline}, which is no worse than the teacher: there is no gap to close",
            than_its_baseline=_against_baseline(saved),
        )
    if saved == 0:
        return said("closes **none** of the {gap:,} errors between baseline and teacher", gap=gap)
    if saved < 0:
        return counted(
            "closes **none** of the {gap:,} errors between baseline and teacher and makes {count:,} error more than its"
            " baseline",
            "closes **none** of the {gap:,} errors between baseline and teacher and makes {count:,} errors more than"
            " its baseline",
            -saved,
            gap=gap,
        )
    if saved > gap:
        return counted(
            "closes **all** of the {gap:,} errors between baseline and teacher and makes {count:,} error fewer than its"
            " teacher",
            "closes **all** of the {gap:,} errors between baseline and teacher and makes {count:,} errors fewer than"
            " its teacher",
            saved - gap,
            gap=gap,
        )
    return said(
        "closes **{saved:,} of the {gap:,}** errors between baseline and teacher ({share:.0%})",
        saved=saved,
        gap=gap,
        share=saved / gap,
    )


def _against_baseline(saved: int) -> Said:
    """Say how many errors a student saves against its baseline, or has more, to follow 'it'."""
    if saved > 0:
        return counted(
            "makes {count:,} error fewer than its baseline", "makes {count:,} errors fewer than its baseline", saved
        )
    if saved < 0:
        return counted(
            "makes {count:,} error more than its baseline", "makes {count:,} errors more than its baseline", -saved
        )
    return said("makes as many errors as its baseline")


class SeedDifference(NamedTuple):
    """What one has more than another by seed, such as test errors; mean and 95% interval (Student's t).

    interval: (low, high), None of fewer than FEWEST_SEEDS seeds.
    """

    by_seed: dict[int, float]
    mean: float
    interval: tuple[float, float] | None

    @property
    def sign(self) -> int:
        """1 or -1 where the interval leaves out 0 on that side, else 0: then it could be luck."""
        if self.interval is None:
            return 0
        low, high = self.interval
        if low == high and sign_test(len(self.by_seed)) >= SURE:  # all alike: the interval has no width
            return 0
        return (low > 0) - (high < 0)


def seed_difference(fewer: Mapping[int, float], more: Mapping[int, float]) -> SeedDifference | None:
    """Return how much more the second has, over the seeds that both have; None where there are none."""
    by_seed = {seed: float(more[seed] - fewer[seed]) for seed in sorted(fewer.keys() & more.keys())}
    if not by_seed:
        return None
    if len(by_seed) < FEWEST_SEEDS:
        return SeedDifference(by_seed, sum(by_seed.values()) / len(by_seed), None)
    mean, low, high = mean_interval(list(by_seed.values()))
    return SeedDifference(by_seed, mean, (low, high))


def saved_by_seed(pairs: Mapping[int, tuple[int, int]]) -> SeedDifference | None:
    """Return the test errors that a student saves. pairs: by seed, those of its baseline and its own."""
    baseline, student = ({seed: pair[place] for seed, pair in pairs.items()} for place in (0, 1))
    return seed_difference(student, baseline)


def over_seeds(saved: SeedDifference) -> Said:
    """Say what a distilled student saves against its baseline, and whether that could be luck."""
    seeds, low_high, fewer = len(saved.by_seed), saved.interval, saved.mean >= 0
    mean = f"{abs(saved.mean):.{int(seeds > 1)}f}"
    if not float(mean):
        clause = said("the distilled student makes as many test errors as its baseline")
    elif fewer:
        clause = said("the distilled student makes {mean} test errors fewer than its baseline", mean=mean)
    else:
        clause = said("the distilled student makes {mean} test errors more than its baseline", mean=mean)
    if low_high is None and seeds == 1:
        return said(
            "On this seed {clause}. It takes {fewest} seeds to say how sure that is.",
            clause=clause,
            fewest=FEWEST_SEEDS,
        )
    if low_high is None:
        return said(
            "Over {seeds} seeds {clause}. It takes {fewest} seeds to say how sure that is.",
            seeds=seeds,
            clause=clause,
            fewest=FEWEST_SEEDS,
        )
    low, high = low_high if fewer else (-low_high[1], -low_high[0])
    return said(
        "Over {seeds} seeds {clause} on average (95% interval {low:.1f} to {high:.1f}, Student's t): {verdict}.",
        seeds=seeds,
        clause=clause,
        low=low,
        high=high,
        verdict={1: said("it is better"), -1: said("it is worse"), 0: said("that could be luck")}[saved.sign],
    )
