"""What a config's precision and memory format 'auto' mean, by a rule that gives the same answer every time.

A run is settled before it is queued, so that its config says how it computes wherever and whenever it goes on. The rule
asks for the network, the batch and the kind of machine; no clock: docs/measurements/choices.md has what was measured.
torch is imported by what needs it, not here.
"""

import math
from collections import Counter
from collections.abc import Container, Sequence
from functools import lru_cache
from itertools import product

from kd_core.data.catalogue import info_of
from kd_core.models.config import ModelConfig
from kd_core.training.config import MEMORY_FORMATS, PRECISIONS, Device, MemoryFormat, Precision, RunConfig

LEAST_WORK = {"cpu": 100e6, "cuda": 2e9}
"""Multiply-adds of a step's forward pass from which bfloat16 pays for casting what it multiplies."""
LEAST_USE = 128
"""How often a step multiplies by each weight, at least: a perceptron as often as the batch has images."""


def settled(config: RunConfig) -> RunConfig:
    """Replace what is auto by the rule's; other configs, and those of external teachers, stay as they are.

    Channels last is for convolutions on a processor: there it was measured (docs/measurements/choices.md).
    """
    training, architecture = config.training, config.model.architecture
    if not config.trained_here or "auto" not in (training.precision, training.memory_format):
        return config
    last = (architecture.maps or config.model.stock) and machine(training.device)[0] == "cpu"
    memory_format: MemoryFormat = "channels_last" if last else "contiguous"
    if training.precision != "auto" or not architecture.bfloat16:
        return config.computed_in("float32", memory_format)
    info = info_of(config.dataset)
    costs = _costs(config.model, info.image_shape, info.classes)
    work, use = (training.batch_size * cost for cost in costs)
    return config.computed_in(by_rule(work, use, *machine(training.device)), memory_format)


def settled_alike(configs: Sequence[RunConfig], known: Container[RunConfig] = ()) -> list[RunConfig]:
    """Settle runs that are to be compared in one precision and memory format.

    known: what is trained already. Where more of these runs are there in another precision or format than in those of
    the rule, from another kind of machine or an older version, all take those.
    """
    votes = Counter((ruled.training.precision, ruled.training.memory_format) for ruled in map(settled, configs))
    ways = sorted(product(PRECISIONS, MEMORY_FORMATS), key=lambda way: -votes[way])
    made = [[config.computed_in(*way) for config in configs] for way in ways]
    return max(made, key=lambda runs: sum(run in known for run in runs))


def by_rule(work: float, use: float, device: str, has_bfloat16: bool) -> Precision:
    """The rule. work: multiply-adds of a step's forward pass. use: the same for each weight. device: cpu, cuda or mps.

    has_bfloat16: the device multiplies it in hardware, faster than float32.
    """
    pays = use >= LEAST_USE and work >= LEAST_WORK.get(device, math.inf)
    return "bfloat16" if has_bfloat16 and pays else "float32"


@lru_cache(maxsize=512)
def _costs(model: ModelConfig, image_shape: tuple[int, int, int], classes: int) -> tuple[float, float]:
    """Multiply-adds of an image, and the same per weight."""
    from kd_core.models import build

    network = build.blueprint(model, image_shape, classes)
    with build.taking(model, image_shape):
        count = build.multiply_adds(network, image_shape)
    return count, count / build.parameter_count(network)


@lru_cache(maxsize=4)
def machine(device: Device) -> tuple[str, bool]:
    """The device of this name on this machine, and whether it multiplies bfloat16 faster than float32.

    Of processors that is AMX, and AVX-512's bfloat16 on others than Intel's, where it runs at the rate of float32.
    """
    import torch

    from kd_core.models.arithmetic import pick_device

    name = pick_device(device).type if device == "auto" else device
    if name == "cuda":
        return name, torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    has = torch.cpu.get_capabilities()
    return name, bool(has.get("amx_bf16") or (has.get("avx512_bf16") and "Intel" not in has["cpu_name"]))
