"""Which loss serves a pair of networks: one student an objective and seed, beside the baseline."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from kd_core.evaluation.accuracy import Labels
from kd_core.experiments import equal_budget
from kd_core.experiments.equal_budget import Standing
from kd_core.experiments.table import Row
from kd_core.public import shown
from kd_core.public.given import Given
from kd_core.public.result import Trained, errors_of


@dataclass(frozen=True, eq=False)
class LossesCompared:
    """Students by objective and seed, with the baseline, on one test set."""

    runs: Mapping[str, Mapping[int, Trained]]
    data: Given
    teacher_errors: int

    @property
    def labels(self) -> Labels:
        """The classes of the test examples, (N,)."""
        return self.data.test_labels.numpy()

    @property
    def standings(self) -> list[Standing]:
        """Each objective with its errors and its differences from the baseline and from Hinton's, the best first."""
        seconds = {name: {seed: run.seconds for seed, run in runs.items()} for name, runs in self.runs.items()}
        rows = [
            Row(name, None, errors_of(runs, self.labels), len(self.labels), seconds[name])
            for name, runs in self.runs.items()
        ]
        return equal_budget.standings(rows)

    @property
    def errors(self) -> pd.DataFrame:
        """Test errors by seed, a column an objective."""
        counts = pd.DataFrame({name: errors_of(runs, self.labels) for name, runs in self.runs.items()})
        counts.index.name = "seed"
        return counts

    @property
    def table(self) -> pd.DataFrame:
        """A line an objective, as the app's page of objectives shows it; the fewest mean errors first."""
        lines = [equal_budget.cells(standing) for standing in self.standings]
        table = pd.DataFrame(lines, columns=list(map(str, equal_budget.HEAD)))
        return table.set_index(str(equal_budget.HEAD[0]))

    @property
    def verdict(self) -> str:
        """Which differences are more than luck, after Holm's correction."""
        return " ".join(equal_budget.verdict(self.standings))

    @property
    def notes(self) -> list[str]:
        """What whoever reads the verdict has to know."""
        return [
            *self.data.notes,
            f"Errors are of {len(self.labels):,} test examples, of which the teacher gets {self.teacher_errors:,}"
            " wrong. Each objective has the weights that its authors chose; whichever seems best was chosen by these"
            " very errors, so count it anew on other seeds before you rely on it.",
            str(equal_budget.HOW_TO_READ),
        ]

    def plot(self, backend: str | None = None) -> Any:
        """Test errors of each objective, a line a seed, with plotly or matplotlib, as Result.plot."""
        names = [standing.name for standing in self.standings]
        frame = self.errors[names].T
        frame.columns = [f"seed {seed}" for seed in frame.columns]
        return shown.drawn(frame, "Test errors by objective", f"test errors of {len(self.labels):,}", backend)

    def _repr_html_(self) -> str:
        return shown.as_html(self.table, self.verdict, self.notes, self.errors)

    def __repr__(self) -> str:
        return "\n".join([self.table.to_string(), "", self.verdict, *self.notes])
