"""What came of it: errors by seed, the difference with its interval, a verdict in words, and the networks."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from torch import nn

from kd_core.base import tensors
from kd_core.base.files import AnyPath
from kd_core.evaluation import accuracy, claims, statistics
from kd_core.evaluation.accuracy import Logits
from kd_core.evaluation.claims import SeedDifference
from kd_core.public import shown
from kd_core.public.given import DataError, Given
from kd_core.training.config import Recipe
from kd_core.training.records import EpochRecord


def as_path(path: AnyPath | str, ending: str) -> AnyPath:
    """A file's path, however it was written. Raises DataError where it does not end as its kind does."""
    file = Path(path).expanduser() if isinstance(path, str) else path
    if file.suffix != ending:
        raise DataError(f"{file.name} does not end in {ending}, which is what is written: call it so")
    return file


def errors_of(runs: "Mapping[int, Trained]", labels: accuracy.Labels) -> dict[int, int]:
    """Test errors by seed."""
    return {seed: accuracy.test_errors(run.test_logits, labels) for seed, run in runs.items()}


class Trained(NamedTuple):
    """A student: its best weights, on the CPU in eval mode, with its logits of the test set, (N, K).

    validation_errors: of its best epoch, None where nothing was kept for it. seconds: that its training took.
    """

    model: nn.Module
    test_logits: Logits
    epochs: tuple[EpochRecord, ...]
    validation_errors: int | None
    seconds: float

    @property
    def diverged(self) -> bool:
        """Whether its loss or its logits are no numbers."""
        return not (np.isfinite(self.epochs[-1].loss) and np.isfinite(self.test_logits).all())


@dataclass(frozen=True, eq=False)
class Result:
    """A student with its teacher and its baseline, on the same seeds and test set.

    student_runs, baseline_runs: by seed. same_start: all seeds began at the same weights.
    taught_in_train_mode: the teacher was handed over so; what taught was a copy in eval mode.
    """

    data: Given
    settings: Recipe
    teacher_logits: Logits
    teacher_parameters: int
    same_start: bool
    taught_in_train_mode: bool
    baseline_runs: Mapping[int, Trained]
    student_runs: Mapping[int, Trained]

    @cached_property
    def errors(self) -> pd.DataFrame:
        """Test errors by seed: columns baseline, distilled, and saved, which is baseline minus distilled."""
        columns = {"baseline": self.baseline_runs, "distilled": self.student_runs}
        counts = pd.DataFrame({name: errors_of(runs, self._labels) for name, runs in columns.items()})
        counts.index.name = "seed"
        return counts.assign(saved=counts["baseline"] - counts["distilled"])

    @property
    def test_examples(self) -> int:
        """How many examples the errors are of."""
        return len(self.data.test_labels)

    @property
    def teacher_errors(self) -> int:
        """Test errors of the teacher."""
        return accuracy.test_errors(self.teacher_logits, self._labels)

    @property
    def difference(self) -> SeedDifference:
        """Test errors that the teacher saves: by seed, their mean, and its 95% interval from three seeds on."""
        pairs = {seed: (int(row["baseline"]), int(row["distilled"])) for seed, row in self._by_seed.items()}
        saved = claims.saved_by_seed(pairs)
        assert saved is not None  # noqa: S101  there is a seed
        return saved

    @property
    def verdict(self) -> str:
        """Whether the distilled student is better than its baseline, or that could be luck."""
        return str(claims.over_seeds(self.difference))

    @property
    def notes(self) -> list[str]:
        """What whoever reads the verdict has to know."""
        notes = [*self.data.notes]
        worse = self.teacher_errors - float(self.errors["baseline"].mean())
        if worse > 0:
            notes.append(
                f"The teacher makes {self.teacher_errors} errors, {worse:.1f} more than the baseline does on average:"
                " look for a better teacher, and at whether it reads its images as it was trained to."
            )
        lost = [f"{role} {seed}" for role, runs in self._roles.items() for seed, run in runs.items() if run.diverged]
        if lost:
            notes.append(f"No numbers came of {', '.join(lost)} (role and seed): lower learning_rate.")
        if self.taught_in_train_mode:
            notes.append("The teacher was in train mode: what taught, and was counted, is a copy in eval mode.")
        if self.same_start and len(self.errors) > 1:
            notes.append(
                "All seeds began at the weights of the one student that was given: they differ in the order of examples"
                " and in the validation split alone. Give a function that makes it, for first weights of their own."
            )
        return notes

    @property
    def table(self) -> pd.DataFrame:
        """Teacher, baseline and distilled student: mean errors, 95% interval over the seeds, and what they cost."""
        rows: dict[str, tuple[float, tuple[float, ...] | None, int, float | None, float | None]] = {}
        rows["teacher"] = (float(self.teacher_errors), None, self.teacher_parameters, None, None)
        for role, runs in self._roles.items():
            counts = list(errors_of(runs, self._labels).values())
            interval = statistics.mean_interval(counts)[1:] if len(counts) >= statistics.FEWEST_SEEDS else None
            agreement = [accuracy.agreement(run.test_logits, self.teacher_logits) for run in runs.values()]
            size = sum(parameter.numel() for parameter in next(iter(runs.values())).model.parameters())
            seconds = float(np.median([run.seconds for run in runs.values()]))
            rows[role] = (float(np.mean(counts)), interval, size, float(np.mean(agreement)), seconds)
        cells = {
            role: {
                f"test errors of {self.test_examples:,}": f"{mean:.1f}" if role != "teacher" else f"{mean:.0f}",
                "95% interval": "–" if interval is None else f"{interval[0]:.1f} to {interval[1]:.1f}",
                "errors": f"{mean / self.test_examples:.2%}",
                "agrees with teacher": "–" if agrees is None else f"{agrees:.1%}",
                "parameters": f"{size:,}",
                "seconds a run": "–" if seconds is None else f"{seconds:.1f}",
            }
            for role, (mean, interval, size, agrees, seconds) in rows.items()
        }
        return pd.DataFrame.from_dict(cells, orient="index")

    @property
    def history(self) -> pd.DataFrame:
        """A row an epoch: role, seed, epoch, loss, soft_loss, hard_loss, validation_errors, learning_rate, seconds."""
        return pd.DataFrame(
            {"role": role, "seed": seed, **vars(record)}
            for role, runs in self._roles.items()
            for seed, run in runs.items()
            for record in run.epochs
        )

    @property
    def seed(self) -> int:
        """Of the students: the one with the fewest errors on its validation split, the first of equals.

        The test set has no say in it.
        """
        return min(self.student_runs, key=lambda seed: self.student_runs[seed].validation_errors or 0)

    @property
    def student(self) -> nn.Module:
        """The distilled student of that seed, on the CPU in eval mode."""
        return self.student_runs[self.seed].model

    @property
    def baseline(self) -> nn.Module:
        """The baseline of that seed."""
        return self.baseline_runs[self.seed].model

    def save(self, path: AnyPath | str) -> None:
        """Write the student's weights as safetensors, what they are in its header.

        Raises SaveError, and DataError for a file whose name does not end in .safetensors.
        """
        tensors.save_tensors(as_path(path, ".safetensors"), self.student.state_dict(), self._described())

    def export(self, path: AnyPath | str, *, classify: bool = False) -> None:
        """Write the student as ONNX: input "images" (N, …), what preprocess reads; output "logits" (N, K).

        classify: write classify.py beside it, which says what is on a photograph; it needs no torch and no KD Lab.
        The file is run by ONNX Runtime on the test set before this returns. Raises LabError where the network cannot be
        written so, or gives other classes than here, and for a file whose name does not end in .onnx.
        """
        from kd_core.public import deploy

        original = self.student_runs[self.seed].test_logits
        notes = self._described()
        deploy.write_onnx(as_path(path, ".onnx"), self.student, self.data, original, notes, classify=classify)

    def plot(self, backend: str | None = None) -> Any:
        """Test errors of baseline and distilled student, a line a seed, with plotly or matplotlib.

        Returns pandas' figure or axes. Raises LabError where neither is installed.
        """
        frame = self.errors[["baseline", "distilled"]].T
        frame.columns = [f"seed {seed}" for seed in frame.columns]
        frame["teacher"] = self.teacher_errors
        counted = f"test errors of {self.test_examples:,}"
        return shown.drawn(frame, self.verdict, counted, backend)

    def _repr_html_(self) -> str:
        return shown.as_html(self.table, self.verdict, self.notes, self.errors.T)

    def __repr__(self) -> str:
        return "\n".join([self.table.to_string(), "", self.verdict, *self.notes])

    @property
    def _labels(self) -> Any:
        return self.data.test_labels.numpy()

    @property
    def _roles(self) -> dict[str, Mapping[int, Trained]]:
        return {"baseline": self.baseline_runs, "distilled": self.student_runs}

    @property
    def _by_seed(self) -> dict[int, Any]:
        return {int(str(seed)): row for seed, row in self.errors.iterrows()}

    def _described(self) -> dict[str, str]:
        distillation = self.settings.distillation
        assert distillation is not None  # noqa: S101  a student's settings
        return {
            "format": "pt",
            "made_by": "kd_core.distill",
            "distillation": distillation.model_dump_json(exclude={"teachers"}),
            "training": self.settings.training.model_dump_json(),
            "seed": str(self.seed),
            "class_names": json.dumps(self.data.class_names, ensure_ascii=False),
            "test_errors": f"{self._by_seed[self.seed]['distilled']} of {self.test_examples}",
            "verdict": self.verdict,
        }
