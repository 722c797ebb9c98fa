"""A LightningModule that distils, for those who have a Trainer. Lightning is imported when it is asked for."""

import importlib
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from kd_core.base.config import LabError
from kd_core.losses.objectives.modules import Distiller

Optimise = Callable[[Iterable[nn.Parameter]], Any]


def lightning_module(
    student: nn.Module, teacher: nn.Module, *, optimizer: Optimise | None = None, **settings: Any
) -> Any:
    """A LightningModule whose training step distils teacher into student, and whose validation counts errors.

    optimizer: parameters -> what configure_optimizers returns; by default AdamW at 1e-3. settings: of
    kd_core.Distiller, such as objective="dkd", temperature=4. Batches are (inputs, labels), or (inputs, labels,
    indices) for crd. Logged: loss, soft_loss, hard_loss, val_errors, val_accuracy. `.distiller.student` is the student.
    Raises LabError where neither lightning nor pytorch_lightning is installed, ConfigError as Distiller does.
    """
    distiller = Distiller(student, teacher, **settings)
    make = optimizer or (lambda parameters: torch.optim.AdamW(parameters, lr=1e-3))

    class Distilling(_lightning().LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.distiller = distiller

        def forward(self, inputs: Any) -> Any:
            return self.distiller.student(inputs)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            losses = self.distiller(*batch)
            parts = losses._asdict().items()
            self.log_dict({name: part for name, part in parts if not bool(part.isnan())}, prog_bar=True)
            return losses.loss

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            inputs, labels = batch[:2]
            wrong = (self(inputs).argmax(dim=1) != labels).float()
            self.log("val_errors", wrong.sum(), reduce_fx="sum")
            self.log("val_accuracy", 1 - wrong.mean(), batch_size=len(labels), prog_bar=True)

        def configure_optimizers(self) -> Any:
            return make(parameter for parameter in self.distiller.parameters() if parameter.requires_grad)

    return Distilling()


def _lightning() -> Any:
    for name in ("lightning.pytorch", "pytorch_lightning"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise
    raise LabError("a LightningModule needs Lightning: pip install lightning")
