"""Training as a generator: train(run) yields records and leaves it to its caller to print, store, plot or stop.

A Training holds everything a run needs to go on. Between two records its caller may save it, and a run restored from
there ends with the same weights, to the last bit, as one never interrupted (same config, machine and device).
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kd_core.base import tensors
from kd_core.base.config import ConfigError
from kd_core.base.files import AnyPath, DamagedError
from kd_core.base.process import lacks_memory
from kd_core.base.templates import said
from kd_core.data import augment
from kd_core.data.dataset import Dataset, Streamed
from kd_core.losses import hinton, objective
from kd_core.losses.config import DistillationConfig
from kd_core.losses.objectives.definition import Batch, Sample
from kd_core.models import build, pixels, pretrained
from kd_core.models.arithmetic import (
    autocast,
    pick_device,
    quick_float32,
    random_state,
    rounding_to_int8,
    set_random_state,
)
from kd_core.models.taps import Taps, tapped
from kd_core.training.config import Recipe, RunConfig, looks_anew, split_of
from kd_core.training.optimise import epoch_generator, learning_rate, optimizer_of
from kd_core.training.precision import settled
from kd_core.training.records import EpochRecord, Record, StepRecord

_KEPT = ("precision", "step", "epoch_sums", "epoch_seconds", "best_errors", "best_weights", "random_state")
"""What a checkpoint holds beside the config and the state of model, optimiser and projector."""
RECORDS_PER_EPOCH = 20
MAX_STEPS_PER_RECORD = 20


class Learning:
    """One network in training: model, optimiser, position, randomness, and the best weights so far.

    teachers: the trained teachers, for a distilled run. teacher_logits: their logits over the whole training set in
    its own order, (M, N, K) for M teachers, where these are known already; computed here otherwise, once.
    start: a trained model of the same architecture whose weights training starts from, for a run that continues one.
    network: makes the model by torch's global generator; by default what a run's config names.
    Without labels in the transfer set the teacher's top class stands in for them on the validation split, so that
    validation accuracy is agreement then.
    Raises ConfigError where config asks for what this machine or these teachers do not offer.
    """

    def __init__(
        self,
        config: RunConfig | Recipe,
        dataset: Dataset,
        *,
        teachers: Sequence[nn.Module] = (),
        teacher_logits: Tensor | None = None,
        start: nn.Module | None = None,
        network: Callable[[], nn.Module] | None = None,
    ) -> None:
        self.config, self.dataset = config, dataset
        self._network = network or self._by_name
        self.device = pick_device(config.training.device)
        torch.manual_seed(config.seed)
        training = settled(config).training if isinstance(config, RunConfig) else config.training
        self.precision: str = training.precision
        self._channels_last = training.memory_format == "channels_last"
        self.model = self._placed(self._network())
        if training.int8_aware:
            rounding_to_int8(self.model)
        if start is not None:
            self.model.load_state_dict(start.state_dict())
        elif isinstance(config, RunConfig) and config.model.pretrained:
            pretrained.load(self.model, config.model)
        self.teachers = [self._placed(teacher).eval().requires_grad_(False) for teacher in teachers]
        needs = "logits" if config.distillation is None else config.distillation.info.needs
        self._taps = needs != "logits"

        train_indices, validation_indices = split_of(dataset, config)
        self.images = dataset.taken(train_indices, self.device)
        self.labels = dataset.train_labels[train_indices].to(self.device)
        self.validation_images = dataset.train_images[validation_indices].to(self.device)
        self.validation_labels = dataset.train_labels[validation_indices].to(self.device)
        self.steps_per_epoch = math.ceil(len(self.images) / config.training.batch_size)
        self.total_steps = config.training.epochs * self.steps_per_epoch
        self.step = 0
        self.history: list[str] = []  # what its caller has recorded up to this step, in JSON
        known = self._teacher_logits(teacher_logits)
        if known is not None and not config.transfer_set.labelled:
            self.validation_labels = self._averaged(known[:, validation_indices]).argmax(dim=1).to(self.device)
        self.teacher_logits = self._members = None
        if known is not None and not self._looks_anew:
            part = known[:, train_indices].to(self.device)
            self.teacher_logits, self._members = (None, part) if self._averages_anew else (self._averaged(part), None)
        self._probes = dataset.test_images[dataset.probes]

        self.projector = self._projector()
        trained = [*self.model.parameters(), *(self.projector.parameters() if self.projector else ())]
        self.optimizer = optimizer_of(trained, config.training, self.device)

        exact = torch.float32 if self.device.type == "mps" else torch.float64  # Apple's GPUs have no float64
        self.epoch_sums = torch.zeros(3, dtype=exact, device=self.device)  # loss, soft, hard x examples
        self.epoch_seconds = 0.0
        self.best_errors: int | None = None  # of the best epoch, on what it was chosen by
        self.since_best = 0  # epochs
        self.best_weights = _copied_weights(self.model)
        self.random_state = random_state(self.device)

    def _by_name(self) -> nn.Module:
        """The network that the config names, as it is before training, on the CPU."""
        if isinstance(self.config, Recipe):
            raise ValueError("a recipe names no network: hand one over")
        data, classes = self.dataset, len(self.dataset.class_names)
        return pixels.fresh(self.config.model, data.image_shape, classes, mean=data.mean, std=data.std)

    def _placed(self, model: nn.Module) -> nn.Module:
        """On the run's device, its convolutions in the run's memory format."""
        model = model.to(self.device)
        if self._channels_last:
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model

    def inputs(self, images: Tensor) -> Tensor:
        """What the networks read: (N, C, H, W) uint8 -> normalised float32, in the run's memory format."""
        inputs = self.dataset.normalise(images)
        return inputs.contiguous(memory_format=torch.channels_last) if self._channels_last else inputs

    @property
    def _looks_anew(self) -> bool:
        """Whether the teacher has to look at every batch."""
        return looks_anew(self.config)

    @property
    def _averages_anew(self) -> bool:
        """Whether the average of several teachers changes with T from step to step."""
        distillation = self.config.distillation
        if distillation is None or distillation.final_temperature is None:
            return False
        return len(distillation.teachers) > 1 and distillation.average == "probabilities"

    def _averaged(self, members: Tensor) -> Tensor:
        """Logits of the teacher, or of the ensemble as it is averaged at this step. (M, N, K) -> (N, K)."""
        distillation = self.config.distillation
        if distillation is None:
            raise ValueError("without distillation there is no teacher")
        temperature, _ = distillation.at(self._share)
        return hinton.ensemble_logits(members, temperature=temperature, average=distillation.average)

    @property
    def _share(self) -> float:
        """Share of the steps done, from 0 at the first to 1 at the last."""
        return self.step / max(1, self.total_steps - 1)

    def _projector(self) -> nn.Module | None:
        """The module that an objective trains beside the student and that is not exported; None for most.

        Raises ConfigError where the teacher has no maps to compare.
        """
        distillation = self.config.distillation
        if distillation is None or not self._taps:
            return None
        inputs = self.inputs(self.images[:2])
        self.model.eval()
        with torch.no_grad():
            student, teacher = tapped(self.model, inputs)[1], tapped(self.teachers[0], inputs)[1]
        self.model.train()
        if distillation.info.needs == "maps" and not teacher.maps:
            raise ConfigError(
                said(
                    "{objective} compares maps, and this teacher has none: choose a convolutional one",
                    objective=distillation.objective,
                )
            )
        if not distillation.info.projector:
            return None
        return distillation.info.projector(Sample(student, teacher, len(self.images))).to(self.device)

    def _teacher_logits(self, known: Tensor | None) -> Tensor | None:
        """Logits of the M teachers over the whole unchanged training set, (M, N, K); None where they are not needed."""
        distillation = self.config.distillation
        if distillation is None:
            return None
        if not self.teachers and known is None:
            raise ConfigError(said("a distilled student needs a teacher"))
        if self._looks_anew and not self.teachers:
            raise ConfigError(
                said("the teacher itself is needed, not only its logits: images move, or features are compared")
            )
        if self._looks_anew and self.config.transfer_set.labelled:
            return None
        if known is None:
            images = self.dataset.train_images
            known = torch.stack([self._logits(teacher, images) for teacher in self.teachers])
        expected = (len(self.dataset.train_labels), len(self.dataset.class_names))
        if tuple(known.shape[1:]) != expected:
            raise ConfigError(
                said(
                    "the teacher knows {known_classes} classes of {known_images} training images, but {data} has"
                    " {classes} classes and {images} images: choose another teacher",
                    known_classes=known.shape[2],
                    known_images=known.shape[1],
                    data=self.dataset.name,
                    classes=expected[1],
                    images=expected[0],
                )
            )
        return known

    @property
    def epochs_done(self) -> float:
        """Epochs trained so far, as a fraction."""
        return self.step / self.steps_per_epoch

    @property
    def _stateful(self) -> dict[str, Any]:
        """The parts of a checkpoint that have a state of their own."""
        parts = {"model": self.model, "projector": self.projector, "optimizer": self.optimizer}
        return {name: part for name, part in parts.items() if part is not None}

    def save(self, path: AnyPath) -> None:
        """Write a checkpoint from which restore goes on exactly. Call it between records. Raises SaveError."""
        state = {name: getattr(self, name) for name in _KEPT} | {"config": self.config.model_dump_json()}
        state |= {name: part.state_dict() for name, part in self._stateful.items()}
        state |= {"since_best": self.since_best}
        tensors.save_state(path, state | {"history": "\n".join(self.history)})

    def restore(self, path: AnyPath) -> None:
        """Go on from a checkpoint that save wrote for the same config. Raises SaveError or ConfigError."""
        state = tensors.load_state(path)
        if type(self.config).from_json(str(state.get("config"))) != self.config:
            raise ConfigError(said("{path} belongs to another config: start this run anew", path=str(path)))
        try:
            for name, part in self._stateful.items():
                part.load_state_dict(state[name])
            for name in _KEPT:
                setattr(self, name, state[name])
            self.since_best = state.get("since_best", 0)  # older checkpoints have none, and did not wait
            self.epoch_sums = self.epoch_sums.to(self.device)
            self.history = state.get("history", "").splitlines()  # older checkpoints have none
        except (KeyError, RuntimeError, ValueError, AttributeError) as error:
            if lacks_memory(error):  # the checkpoint may be whole
                raise
            raise DamagedError(said("{path} is no checkpoint of this run: start it anew.", path=str(path))) from error

    def best_model(self) -> nn.Module:
        """The model with the weights of the best epoch on the validation split, on the CPU, in eval mode."""
        best = self._network()
        best.load_state_dict(self.best_weights)
        return best.eval()

    def probe_logits(self) -> Tensor:
        """Logits of the weights as they are now for Dataset.probes, (P, K), to watch the student learn."""
        return self._logits(self.model, self._probes)

    def _logits(self, model: nn.Module, images: Tensor) -> Tensor:
        return build.logits_of(model, images, self.inputs, batch_size=self.dataset.evaluated_at_once)

    def epoch_plan(self, epoch: int) -> tuple[Tensor, Tensor | None]:
        """The order of the examples, (N,), and their shifts, (N, 2) pixels, or None without jitter.

        Both follow from seed and epoch alone, so that a resumed run agrees.
        """
        generator = epoch_generator(self.config.seed, epoch)
        order = torch.randperm(len(self.images), generator=generator).to(self.device)
        most = self.config.training.jitter_pixels
        if not most:
            return order, None
        shifts = torch.randint(-most, most + 1, (len(order), 2), generator=generator)
        return order, shifts.to(self.device)

    def batch_losses(self, indices: Tensor, shifts: Tensor | None) -> hinton.Losses:
        """Forward pass and objective on one batch. indices: (B,). shifts: (B, 2) pixels, or None without jitter."""
        inputs, labels = self.views(indices, shifts)
        student_logits, student_taps = self._seen(self.model, inputs)
        distillation = self.config.distillation
        if distillation is None:
            smoothing = self.config.training.label_smoothing
            hard_loss = F.cross_entropy(student_logits, labels, self._class_weights, label_smoothing=smoothing)
            return hinton.Losses(hard_loss, torch.full_like(hard_loss, torch.nan), hard_loss)
        teacher_logits, teacher_taps = self.teaching(indices, inputs)
        batch = Batch(
            student_logits,
            teacher_logits,
            labels if distillation.reads_labels else None,
            indices,
            student_taps,
            teacher_taps,
            self.projector,
        )
        return self.distillation_losses(batch, distillation)

    def views(self, indices: Tensor, shifts: Tensor | None) -> tuple[Tensor, Tensor]:
        """What the networks read of training images at this step, and its labels: (B,), or (B, K) shares where mixed.

        indices, shifts: as batch_losses has them. Drawn by the run's seed and the step, whatever was drawn before.
        """
        images, labels, training = self.images[indices], self.labels[indices], self.config.training
        images = images if shifts is None else self.jittered(images, shifts)
        if not training.changes:
            return self.inputs(images), labels
        with augment.drawn_by(-1 - (self.config.seed * 1_000_003 + self.step)):
            changed = augment.changed(
                images, flip=training.flip, colour=training.colour, operations=training.randaugment
            )
            inputs = self.inputs(changed)
            if training.mixes:
                mixing = {"mixup": training.mixup, "cutmix": training.cutmix}
                return augment.mixed(inputs, labels, len(self.dataset.class_names), **mixing)
            return inputs, labels

    @cached_property
    def _class_weights(self) -> Tensor | None:
        """(K,), 1 over how often a class occurs among the training images, 1 on average over these; None for none."""
        if not self.config.training.class_weights:
            return None
        counts = self.labels.bincount(minlength=len(self.dataset.class_names))
        return len(self.labels) / (counts.count_nonzero() * counts.clamp_min(1)).to(torch.float32)

    def jittered(self, images: Tensor, shifts: Tensor) -> Tensor:
        """Move each image by its shift. (B, C, H, W) uint8, (B, 2) pixels -> same."""
        return augment.shifted(images, shifts)

    def distillation_losses(self, batch: Batch, distillation: DistillationConfig) -> hinton.Losses:
        """The objective on one batch, as it stands at this step."""
        return objective.evaluate(
            batch,
            distillation,
            share=self._share,
            label_smoothing=self.config.training.label_smoothing,
            class_weights=self._class_weights,
        )

    def choosing_errors(self, validation_errors: int) -> int:
        """Errors by which the best epoch is chosen, called at the end of each epoch."""
        return validation_errors

    def errors_on(self, images: Tensor, labels: Tensor) -> int:
        """Errors of the current weights on these images. (N, C, H, W) uint8, (N,) int64."""
        logits = self._logits(self.model, images)
        return int((logits.argmax(dim=1) != labels.cpu()).sum())

    def _seen(self, model: nn.Module, inputs: Tensor) -> tuple[Tensor, Taps | None]:
        """Run the model: logits in float32, and taps where the objective compares them."""
        with autocast(self.precision, self.device):
            logits, taps = tapped(model, inputs) if self._taps else (model(inputs), None)
        return logits.float(), taps

    def teaching(self, indices: Tensor, inputs: Tensor) -> tuple[Tensor, Taps | None]:
        """The logits that a batch is taught, (B, K), and the teacher's taps where these are compared.

        indices: (B,) into the run's training images. inputs: those images, jittered and normalised.
        """
        if self.teacher_logits is not None:
            return self.teacher_logits[indices], None
        if self._members is not None:
            return self._averaged(self._members[:, indices]), None
        with torch.no_grad():
            seen = [self._seen(teacher, inputs) for teacher in self.teachers]
        return self._averaged(torch.stack([logits for logits, _ in seen])), seen[0][1]


class Training(Learning):
    """A run in progress."""

    config: RunConfig


def train(run: Learning) -> Iterator[Record]:
    """Train run to its end, yielding a StepRecord every few steps and an EpochRecord after each epoch's validation.

    The caller may stop asking at any record; run then stands between two steps and can be saved. What the caller
    draws from torch's random generator between records does not change the run.
    """
    config = run.config.training
    steps_per_record = max(1, min(MAX_STEPS_PER_RECORD, run.steps_per_epoch // RECORDS_PER_EPOCH))
    run.model.train()
    set_random_state(run.random_state, run.device)
    while run.step < run.total_steps and not (config.patience and run.since_best >= config.patience):
        epoch = run.step // run.steps_per_epoch
        order, shifts = run.epoch_plan(epoch)
        recent_sums, recent_count, recent_start = torch.zeros_like(run.epoch_sums), 0, time.perf_counter()
        first = run.step % run.steps_per_epoch
        if isinstance(run.images, Streamed):
            run.images.expect(order.split(config.batch_size)[first:])
        for batch in range(first, run.steps_per_epoch):
            span = slice(batch * config.batch_size, (batch + 1) * config.batch_size)
            rate = learning_rate(config, run.step, run.steps_per_epoch)
            for group in run.optimizer.param_groups:
                group["lr"] = rate
            with quick_float32(run.device):
                batch_losses = run.batch_losses(order[span], None if shifts is None else shifts[span])
                run.optimizer.zero_grad(set_to_none=True)
                batch_losses.loss.backward()
            if config.clip_norm:
                weights = (weight for group in run.optimizer.param_groups for weight in group["params"])
                nn.utils.clip_grad_norm_(weights, config.clip_norm)
            run.optimizer.step()
            run.step += 1

            count = len(order[span])
            recent_sums += torch.stack(batch_losses).detach() * count
            recent_count += count
            in_epoch = batch + 1 < run.steps_per_epoch
            if in_epoch and (run.step == 1 or run.step % steps_per_record == 0):
                parts = _parts(recent_sums / recent_count)
                seconds = time.perf_counter() - recent_start
                run.epoch_seconds += seconds
                run.epoch_sums += recent_sums
                run.random_state = random_state(run.device)
                yield StepRecord(run.step, run.epochs_done, *parts, rate, recent_count / seconds)
                set_random_state(run.random_state, run.device)
                recent_sums, recent_count, recent_start = torch.zeros_like(recent_sums), 0, time.perf_counter()

        means = _parts((run.epoch_sums + recent_sums) / len(run.images))
        errors, best = _validate(run)
        seconds = run.epoch_seconds + time.perf_counter() - recent_start
        run.epoch_sums.zero_()
        run.epoch_seconds = 0.0
        run.random_state = random_state(run.device)
        accuracy = None if errors is None else 1 - errors / len(run.validation_labels)
        yield EpochRecord(run.step, epoch + 1, *means, rate, len(run.images) / seconds, errors, accuracy, best, seconds)
        set_random_state(run.random_state, run.device)


def _validate(run: Learning) -> tuple[int | None, bool]:
    """Errors on the validation split, and whether this epoch is the best so far (ties go to the later epoch)."""
    if len(run.validation_labels) == 0:
        run.best_weights = _copied_weights(run.model)
        return None, True
    errors = run.errors_on(run.validation_images, run.validation_labels)
    choosing = run.choosing_errors(errors)
    best = run.best_errors is None or choosing <= run.best_errors
    run.since_best = 0 if best else run.since_best + 1
    if best:
        run.best_errors = choosing
        run.best_weights = _copied_weights(run.model)
    return errors, best


def _copied_weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


def _parts(means: Tensor) -> tuple[float, float | None, float | None]:
    """Loss, soft and hard loss as floats, None where a part does not exist."""
    loss, soft_loss, hard_loss = means.tolist()
    return loss, None if math.isnan(soft_loss) else soft_loss, None if math.isnan(hard_loss) else hard_loss
