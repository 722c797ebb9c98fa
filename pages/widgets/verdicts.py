"""Whether differences are real: exact tests on the same images, several seeds, and how sure models may be believed."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import pandas as pd

from kd_core import evaluation
from kd_core.evaluation import Labels, Logits
from kd_core.runs import Run
from pages.widgets import lab

SURE = 0.05


def differences_table(runs: Sequence[Run], logits: Mapping[str, Logits], labels: Labels) -> pd.DataFrame:
    """McNemar's exact test for every pair, a row each."""
    rows = []
    for first, second in combinations(runs, 2):
        test = evaluation.mcnemar(logits[first.id], logits[second.id], labels)
        rows.append(
            {
                "first": short_name(first),
                "second": short_name(second),
                "only the first is wrong": test.only_first_wrong,
                "only the second is wrong": test.only_second_wrong,
                "p": test.p_value,
                "verdict": _verdict(first, second, test),
            }
        )
    return pd.DataFrame(rows)


def _verdict(first: Run, second: Run, test: evaluation.McNemar) -> str:
    if test.p_value >= SURE:
        return "could be chance"
    better = first if test.only_first_wrong < test.only_second_wrong else second
    return f"{short_name(better)} is better"


def seeds_table(runs: Sequence[Run]) -> pd.DataFrame:
    """Models that were trained with several seeds: mean test errors with a 95% interval, a row each."""
    rows = []
    for run in runs:
        repeats = lab.repeats(run)
        errors = [repeat.results["test_errors"] for repeat in repeats]
        if len(errors) > 1:
            mean, low, high = evaluation.mean_interval(errors)
            rows.append(
                {
                    "model": short_name(run),
                    "seeds": len(errors),
                    "mean test errors": mean,
                    "95% from": low,
                    "to": high,
                    "each": ", ".join(map(str, sorted(errors))),
                }
            )
    return pd.DataFrame(rows)


def short_name(run: Run) -> str:
    """What a run is called in a table with others."""
    return run.name or f"{run.config.role} {run.id[:4]}"
