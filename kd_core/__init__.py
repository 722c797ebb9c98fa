"""The distillation engine of KD Lab. It knows nothing of the screen: no module here imports streamlit.

docs/ARCHITECTURE.md draws the packages and how data flows through them; each module opens with what it is for. What
PUBLIC names is for notebooks and programs of others (docs/python.md), and imported when it is first used:

    import kd_core as kd
    result = kd.distill(student=my_net, teacher=my_teacher, data=(train, test), temperature=4, alpha=0.9, seeds=3)
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kd_core import losses as losses
    from kd_core.base.config import LabError as LabError
    from kd_core.losses.objectives.modules import DistillationLoss as DistillationLoss
    from kd_core.losses.objectives.modules import Distiller as Distiller
    from kd_core.models.architectures.architecture import with_stages as with_stages
    from kd_core.public.compared import LossesCompared as LossesCompared
    from kd_core.public.distill import distill as distill
    from kd_core.public.distill import which_loss as which_loss
    from kd_core.public.lightning import lightning_module as lightning_module
    from kd_core.public.photographs import photographs as photographs
    from kd_core.public.result import Result as Result

# ONNX Runtime looks up its maker's host and leaves a device id in the user's cache folder as soon as it is imported.
# No module of ours, and none of the processes that it starts, imports it before this line.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

PUBLIC = {
    "distill": "kd_core.public.distill",
    "which_loss": "kd_core.public.distill",
    "photographs": "kd_core.public.photographs",
    "Result": "kd_core.public.result",
    "LossesCompared": "kd_core.public.compared",
    "DistillationLoss": "kd_core.losses.objectives.modules",
    "Distiller": "kd_core.losses.objectives.modules",
    "lightning_module": "kd_core.public.lightning",
    "with_stages": "kd_core.models.architectures.architecture",
    "LabError": "kd_core.base.config",
}
"""The public face: name -> its module."""
__all__ = ["losses", *PUBLIC]


def __getattr__(name: str) -> Any:
    if name == "losses":
        return importlib.import_module("kd_core.losses")
    if name not in PUBLIC:
        raise AttributeError(f"module 'kd_core' has no attribute '{name}'")
    return getattr(importlib.import_module(PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
