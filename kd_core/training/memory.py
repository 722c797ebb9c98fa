"""How much memory a run takes at its peak, estimated from its config before it is queued: nothing is computed.

Peaks that processes reached, against the estimates: docs/measurements/memory.md (tools/benchmarks/memory.py).
"""

import math
import weakref
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from kd_core.base.config import ConfigError
from kd_core.base.templates import said
from kd_core.data.catalogue import info_of, is_own
from kd_core.data.own.library import STREAMED_BYTES
from kd_core.models.config import ModelConfig
from kd_core.training.config import ROLES, RunConfig
from kd_core.training.precision import machine, settled

PROCESS_BYTES = 600_000_000
"""Of a worker with what it imports, before it loads anything."""
EVALUATED_AT_ONCE = 1000
"""Images of a batch of models.build.logits_of."""
FLOAT32 = 4
EXAMPLES = 2
"""Of a batch by which a network is measured: batch norm wants more than one."""


class Memory(NamedTuple):
    """Bytes that a run takes at its peak, by what takes them.

    data: the images, and the logits that teachers gave of them. weights: of all networks, with gradients, the
    optimiser's moments and what a checkpoint copies. activations: of a batch.
    """

    data: int
    weights: int
    activations: int

    @property
    def total(self) -> int:
        """With the process itself."""
        return PROCESS_BYTES + sum(self)


class _Network(NamedTuple):
    """Bytes of a network in float32: its weights and buffers, and for one image what a forward pass keeps.

    kept: for the backward pass. passing: the most that stands at once without it, what a block adds to its output and a
    convolution's own copies of what it reads and writes among it.
    """

    weights: int
    kept: int
    passing: int


def memory_of(config: RunConfig, teachers: Sequence[ModelConfig] = ()) -> Memory:
    """Estimate the memory of a run on a CPU. teachers: the networks it learns from.

    A checkpoint is made of the weights, the moments and the best weights, and stands twice in memory as it is written,
    and three times as it is read; nothing else of the networks grows then, so the larger of both peaks counts. A black
    box of a teacher is left out: nobody knows it.
    """
    info, training = info_of(config.dataset), config.training
    network = _network(config.model, info.image_shape, info.classes)
    known = [_network(teacher, info.image_shape, info.classes) for teacher in teachers if teacher.measurable]
    saved = network.weights * (3 if training.optimizer == "sgd" else 4)
    learning = network.weights + saved
    checkpoint = 2 * network.weights + 3 * saved
    looked_at = min(EVALUATED_AT_ONCE, max(info.train_examples, info.test_examples))
    evaluated = max([network.passing, *(teacher.passing for teacher in known)]) * looked_at
    in_training = batch_bytes(config)
    if config.distillation is not None and not config.reads_teacher_logits:
        in_training += sum(teacher.passing for teacher in known) * min(training.batch_size, config.examples)
    return Memory(
        _data(config, len(teachers)),
        max(checkpoint, learning) + sum(teacher.weights for teacher in known),
        max(0, max(in_training, evaluated) - (checkpoint - learning)),
    )


def batch_bytes(config: RunConfig) -> int:
    """Estimate what a batch of a run leaves in its network, for the backward pass and during it.

    bfloat16 halves it.
    """
    info = info_of(config.dataset)
    network = _network(config.model, info.image_shape, info.classes)
    halved = settled(config).training.precision == "bfloat16"
    return (network.kept + network.passing) // (1 + halved) * min(config.training.batch_size, config.examples)


def check(config: RunConfig, teachers: Sequence[ModelConfig], most_bytes: float) -> None:
    """Raise ConfigError where a run would take more memory than its worker has. An external teacher is not trained."""
    if not config.trained_here:
        return
    memory = memory_of(config, teachers)
    if machine(config.training.device)[0] != "cpu":  # a GPU has memory of its own, and says so when that is full
        memory = memory._replace(activations=0)
    if memory.total <= most_bytes:
        return
    parts = memory._asdict()
    largest = max(parts, key=parts.__getitem__)
    whose, advice = _ADVICE[largest]
    raise ConfigError(
        said(
            "this {role} would take about {total} of memory, {part} of it {whose}, and a run has {most} here: {advice}",
            role=ROLES[config.role],
            total=_in_words(memory.total),
            part=_in_words(parts[largest]),
            whose=whose,
            most=_in_words(most_bytes),
            advice=advice,
        )
    )


_ADVICE: Mapping[str, tuple[str, str]] = {
    "data": (said("for its data"), said("choose a smaller data set or fewer teachers")),
    "weights": (said("for its weights, their moments and checkpoints"), said("choose fewer or narrower layers")),
    "activations": (said("for what a batch leaves in its layers"), said("choose a smaller batch size or network")),
}


def _in_words(size: float) -> str:
    return f"{size / 1e9:,.1f} GB"


def _data(config: RunConfig, teachers: int) -> int:
    """Bytes of the images, which stand in memory as read and as split, and of the teachers' logits as read and split.

    Of a data set that is streamed only the validation split and a batch are in memory.
    """
    info = info_of(config.dataset)
    pixels = math.prod(info.image_shape)
    if is_own(config.dataset) and info.train_examples * pixels > STREAMED_BYTES:
        images = round(info.train_examples * config.training.validation_fraction) * pixels
    else:
        images = (2 * info.train_examples + info.test_examples) * pixels
    logits = 3 * teachers * info.train_examples * info.classes * FLOAT32 if config.reads_teacher_logits else 0
    return images + logits


@lru_cache(maxsize=512)
def _network(model: ModelConfig, image_shape: tuple[int, int, int], classes: int) -> _Network:
    """Measure a network on torch's meta device, which knows the shape of everything and holds nothing."""
    import torch
    from torch import Tensor

    from kd_core.models import build

    network = build.blueprint(model, image_shape, classes).train()
    owned = [*network.parameters(), *network.buffers()]
    kept: dict[int, Tensor] = {}  # by storage, each of which counts once

    def keep(tensor: Tensor) -> Tensor:
        kept.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    images = torch.zeros(EXAMPLES, *image_shape, device="meta")
    with build.taking(model, image_shape):
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            network(images)
        passing = _standing(network.eval(), images)
    for tensor in owned:
        kept.pop(tensor.untyped_storage()._cdata, None)
    return _Network(
        sum(tensor.nbytes for tensor in owned),
        sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) // EXAMPLES,
        passing // EXAMPLES,
    )


def _standing(network: Any, images: Any) -> int:
    """Count the bytes that stand at once, at most, while a network looks at images (N, C, H, W)."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    alive = most = 0

    def end(size: int) -> None:
        nonlocal alive
        alive -= size

    class Standing(TorchDispatchMode):
        def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal alive, most
            output = operation(*args, **(kwargs or {}))
            given, made = (
                {id(tensor.untyped_storage()): tensor.untyped_storage() for tensor in filter(torch.is_tensor, tensors)}
                for tensors in (tree_leaves(args), tree_leaves(output))
            )
            for storage in (made[key] for key in made.keys() - given.keys()):
                alive += storage.nbytes()
                weakref.finalize(storage, end, storage.nbytes())
            copies = (args[0], output) if operation is torch.ops.aten.convolution.default else ()
            most = max(most, alive + sum(tensor.nbytes for tensor in copies))
            return output

    with torch.no_grad(), Standing():
        network(images.clone())
    return most
