"""Whether differences are real: exact tests on the same images, several seeds, and how sure models may be believed."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import pandas as pd

from kd_core.evaluation import statistics
from kd_core.evaluation.accuracy import Labels, Logits
from kd_core.evaluation.claims import FEWEST_SEEDS, SURE, SeedDifference, over_seeds, seed_difference
from kd_core.experiments import story
from kd_core.runs.run import Run
from pages.shared.parts.headline import story_of
from pages.shared.parts.naming import short_names
from pages.shared.session import services


def differences_table(runs: Sequence[Run], logits: Mapping[str, Logits], labels: Labels) -> pd.DataFrame:
    """McNemar's exact test for every pair, a row each."""
    rows, names = [], short_names(runs)
    for first, second in combinations(runs, 2):
        test = statistics.mcnemar(logits[first.id], logits[second.id], labels)
        rows.append(
            {
                "first": names[first.id],
                "second": names[second.id],
                "only the first is wrong": test.only_first_wrong,
                "only the second is wrong": test.only_second_wrong,
                "p": test.p_value,
                "verdict": _verdict(names[first.id], names[second.id], test),
            }
        )
    return pd.DataFrame(rows)


def _verdict(first: str, second: str, test: statistics.McNemar) -> str:
    if test.p_value >= SURE:
        return "could be chance"
    better = first if test.only_first_wrong < test.only_second_wrong else second
    return f"{better} is better on this seed"


def saved_over_seeds(runs: Sequence[Run]) -> SeedDifference | None:
    """What the distilled student among runs saves against its baseline, by seed; None where one of both is missing."""
    _, baseline, distilled = story_of(runs)
    if baseline is None or distilled is None:
        return None
    by_seed = story.pairs(baseline, distilled, services.store().runs(statuses=["finished"]))
    return seed_difference(
        {seed: two for seed, (_, two) in by_seed.items()}, {seed: one for seed, (one, _) in by_seed.items()}
    )


def over_seeds_said(runs: Sequence[Run]) -> list[str]:
    """The sentence on that, where there is one."""
    saved = saved_over_seeds(runs)
    return [] if saved is None else [over_seeds(saved)]


def seeds_said(runs: Sequence[Run]) -> list[str]:
    """A sentence on each model that was trained with several seeds: its mean test errors, with a 95% interval."""
    said, names = [], short_names(runs)
    for run in runs:
        errors = sorted(repeat.results["test_errors"] for repeat in services.repeats(run))
        if len(errors) < 2:
            continue
        listed = ", ".join(map(str, errors))
        if len(errors) < FEWEST_SEEDS:
            said.append(f"{names[run.id]}: {listed} test errors with {len(errors)} seeds, too few for an interval.")
            continue
        mean, low, high = statistics.mean_interval(errors)
        said.append(
            f"{names[run.id]}: {mean:.1f} test errors on average of {len(errors)} seeds ({listed}), 95% interval"
            f" {low:.1f} to {high:.1f} (Student's t)."
        )
    return said
