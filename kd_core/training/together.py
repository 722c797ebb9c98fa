"""Many small students trained together as one batched model: for sweeps over temperature, alpha and seed.

A step of a small student on a CPU is mostly the cost of starting its operators. Together, S students pay it once. The
students that share a seed see the same batches, so that their first layers are one wide matrix product. Each ends
with the weights that training.Training would give it alone, to the rounding of float32.
"""

import math
import time
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kd_core.base import tensors
from kd_core.base.config import ConfigError
from kd_core.base.files import AnyPath, DamagedError
from kd_core.base.process import lacks_memory
from kd_core.base.templates import said
from kd_core.data.catalogue import info_of, is_own
from kd_core.data.dataset import Dataset
from kd_core.losses import hinton
from kd_core.models import build
from kd_core.models.arithmetic import autocast, pick_device, quick_float32
from kd_core.training.config import RunConfig, split_of
from kd_core.training.memory import batch_bytes
from kd_core.training.optimise import epoch_generator, learning_rate, optimizer_of
from kd_core.training.precision import settled
from kd_core.training.records import EpochRecord

MAX_PARAMETERS = 150_000
"""Students above this size train one by one: what together gains shrinks with it (docs/measurements/choices.md)."""
MAX_BATCH_BYTES = 2_000_000_000
"""Of what the batches of a group leave in its networks: 5 MB of 512 images of MNIST in 180 units, 560 MB of all."""


def trains_together(config: RunConfig) -> bool:
    """Whether a run can train together with others and gains by it: a small plain mlp from random weights.

    Dropout and augmentation draw while they train, and batch norm keeps statistics: those runs go one by one, as do
    students of more than MAX_PARAMETERS, and those with another loss than Together computes or with a mistake.
    """
    model, distillation = config.model, config.distillation
    hinton_alone = distillation is None or (distillation.objective == "hinton" and not distillation.changes)
    training = config.training
    if training.label_smoothing or training.int8_aware or not hinton_alone:
        return False
    if training.augments or training.class_weights or training.clip_norm or training.patience:
        return False
    plain = model.name == "mlp" and model.activation == "relu" and not (model.batch_norm or model.drops)
    if not plain or config.mistake is not None:
        return False
    if config.continues is not None or not config.trained_here:
        return False
    info = info_of(config.dataset)
    return build.parameter_count(build.blueprint(model, info.image_shape, info.classes)) <= MAX_PARAMETERS


def groups(configs: Sequence[RunConfig], limit: int = 32, most_bytes: float = MAX_BATCH_BYTES) -> list[list[RunConfig]]:
    """Sort runs into lists of at most limit that can train together; other runs are lists of one.

    A group shares data set, architecture, training, transfer set and teachers; baselines join the first group that
    agrees in the rest. Within a group the runs of one seed stand side by side, as they share their batches; it is of
    one seed on a user's data set, whose validation split of whole people, say, has another size with each seed. Their
    batches together take most_bytes.
    """
    alone: list[list[RunConfig]] = []
    alike: dict[Hashable, dict[tuple[str, ...], list[RunConfig]]] = {}
    for config in configs:
        if not trains_together(config):
            alone.append([config])
            continue
        teachers = () if config.distillation is None else config.distillation.teachers
        seed = config.seed if is_own(config.dataset) else None
        alike.setdefault((*_shared(config), seed), {}).setdefault(teachers, []).append(config)
    joined = []
    for by_teachers in alike.values():
        baselines = by_teachers.pop((), [])
        first, *others = list(by_teachers.values()) or [[]]
        for members in (baselines + first, *others):
            ordered = sorted(members, key=lambda config: config.seed)
            fitting = max(1, int(min(limit, most_bytes / batch_bytes(ordered[0])))) if ordered else limit
            joined += [ordered[start : start + fitting] for start in range(0, len(ordered), fitting)]
    return joined + alone


def _shared(config: RunConfig) -> tuple[Hashable, ...]:
    return config.dataset, config.model, config.training, config.transfer_set


class Student(NamedTuple):
    """One of the students as artifacts.save_results takes it, with the weights of its best epoch."""

    config: RunConfig
    dataset: Dataset
    weights: dict[str, Tensor]
    validation_images: Tensor
    validation_labels: Tensor
    best_errors: int | None
    epochs_done: float
    device: torch.device
    precision: str
    history: list[str]

    def best_model(self) -> nn.Module:
        """On the CPU, in eval mode."""
        best = build.build(self.config.model, self.dataset.image_shape, len(self.dataset.class_names))
        best.load_state_dict(self.weights)
        return best.eval()


class Together:
    """Students in training together: their stacked weights, the optimiser, the position, the best weights so far.

    configs: runs that one list of groups holds, in any order; i counts in their order everywhere. teacher_logits:
    logits of the M teachers over the whole training set in its own order, (M, N, K); None where all are baselines.
    Raises ConfigError where the configs cannot train together, where teacher logits
    are missing or of another data set, and where the device is not there.
    """

    def __init__(self, configs: Sequence[RunConfig], dataset: Dataset, teacher_logits: Tensor | None = None) -> None:
        _check(configs, dataset, teacher_logits)
        self.configs, self.dataset = tuple(configs), dataset
        self.training = configs[0].training
        self.device = pick_device(self.training.device)
        self.precision = settled(configs[0]).training.precision

        # Rows of the stacked tensors lie by seed, so that the students of one seed are one slice of them.
        order = sorted(range(len(configs)), key=lambda i: configs[i].seed)
        self.rows = [order.index(i) for i in range(len(configs))]  # of each config
        ordered = [configs[i] for i in order]
        self.seeds = sorted({config.seed for config in configs})
        self._sizes = [sum(config.seed == seed for config in configs) for seed in self.seeds]
        first_of_seed = [next(config for config in ordered if config.seed == seed) for seed in self.seeds]
        self._batch_of_row = torch.tensor([self.seeds.index(config.seed) for config in ordered], device=self.device)

        self._names, self.parameters = self._initial(first_of_seed)
        splits = [split_of(dataset, config) for config in first_of_seed]
        self.train_indices = torch.stack([train for train, _ in splits]).to(self.device)
        self._validation_indices = torch.stack([validation for _, validation in splits]).to(self.device)
        self._images = dataset.train_images.flatten(1).to(self.device)
        self._labels = dataset.train_labels.to(self.device)
        self._objective(ordered, teacher_logits)

        self.optimizer = optimizer_of(self.parameters, self.training, self.device)
        self.steps_per_epoch = math.ceil(self.examples / self.training.batch_size)
        self.epochs_done = 0
        self.histories: list[list[str]] = [[] for _ in configs]  # as Training.history, of each
        self.best_errors: list[int | None] = [None] * len(configs)  # by row, as best_weights
        self.best_weights = [parameter.detach().clone() for parameter in self.parameters]

    def _initial(self, first_of_seed: Sequence[RunConfig]) -> tuple[list[str], list[nn.Parameter]]:
        """Names in a state dict, and for each its (S, ...) weights as Training draws them with each seed."""
        states = []
        for config, size in zip(first_of_seed, self._sizes, strict=True):
            torch.manual_seed(config.seed)
            model = build.build(config.model, self.dataset.image_shape, len(self.dataset.class_names))
            states += [model.state_dict()] * size
        names = list(states[0])
        stacked = [torch.stack([state[name] for state in states]).to(self.device) for name in names]
        return names, [nn.Parameter(tensor) for tensor in stacked]

    def _objective(self, ordered: Sequence[RunConfig], teacher_logits: Tensor | None) -> None:
        """Set each row's loss weights, temperature, and log soft targets over the training set."""
        settings = [config.distillation for config in ordered]
        alphas = [0.0 if each is None else each.alpha for each in settings]
        temperatures = [1.0 if each is None else each.temperature for each in settings]
        squares = [each.temperature**2 if each is not None and each.t_squared else 1.0 for each in settings]
        self._alphas, self._temperatures, self._squares = (
            torch.tensor(values, device=self.device) for values in (alphas, temperatures, squares)
        )
        self._has_soft = torch.tensor([each is not None for each in settings], device=self.device)
        self._has_hard = self._alphas < 1
        self._reads_labels = bool(self._has_hard.any())
        self._log_targets = torch.empty(0, device=self.device)  # (U·N, K) for the U different kinds of soft targets
        kinds = list(dict.fromkeys((each.temperature, each.ensemble) for each in settings if each is not None))
        if teacher_logits is None or not kinds:
            return
        self._kind_of_row = torch.tensor(
            [0 if each is None else kinds.index((each.temperature, each.ensemble)) for each in settings],
            device=self.device,
        )
        averages = [hinton.ensemble_logits(teacher_logits, temperature=t, average=average) for t, average in kinds]
        soft = [F.log_softmax(logits / t, dim=-1) for logits, (t, _) in zip(averages, kinds, strict=True)]
        self._log_targets = torch.cat(soft).to(self.device)

    @property
    def examples(self) -> int:
        """How many images an epoch shows each student."""
        return self.train_indices.shape[1]

    @property
    def validation_examples(self) -> int:
        """How many images choose each student's best epoch."""
        return self._validation_indices.shape[1]

    def batch_losses(self, indices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, soft and hard loss of each row, (S,) each, NaN where a part does not exist.

        indices: (G, B) into the training set, one batch for each of the G seeds.
        """
        with autocast(self.precision, self.device):
            logits = self._logits(self.parameters, _taken(self._images, indices), self._sizes)
        logits = logits.float().transpose(1, 2).contiguous()  # (S, K, B): a softmax over few classes is quicker so
        of_row = indices[self._batch_of_row]  # (S, B)
        nothing = torch.full_like(self._alphas, torch.nan)
        soft_loss, hard_loss, loss = nothing, nothing, torch.zeros_like(nothing)
        if len(self._log_targets):
            softened = F.log_softmax(logits / self._temperatures[:, None, None], dim=1)
            targets = self._targets(of_row).transpose(1, 2)
            divergence = F.kl_div(softened, targets, reduction="none", log_target=True).sum(dim=1).mean(dim=1)
            soft_loss = divergence * self._squares
            loss = loss + self._alphas * soft_loss
        if self._reads_labels:
            chosen = F.log_softmax(logits, dim=1).gather(1, self._labels[of_row][:, None])
            hard_loss = -chosen.squeeze(1).mean(dim=1)
            loss = loss + (1 - self._alphas) * hard_loss
        return (
            loss,
            torch.where(self._has_soft, soft_loss, torch.nan),
            torch.where(self._has_hard, hard_loss, torch.nan),
        )

    def _targets(self, of_row: Tensor) -> Tensor:
        """Log soft targets of each row for its images. of_row: (S, B) into the training set -> (S, B, K)."""
        images = len(self._labels)
        return _taken(self._log_targets, self._kind_of_row[:, None] * images + of_row)

    def _logits(self, weights: Sequence[Tensor], images: Tensor, sizes: Sequence[int]) -> Tensor:
        """Logits (S, B, K) of all rows. images: (G, B, C·H·W) uint8, each batch for the next of the sizes rows."""
        inputs = self.dataset.normalise(images)
        first, bias, *later = weights
        units = first.shape[1]
        wide = [
            F.linear(batch, rows.flatten(0, 1), biases.flatten())
            for batch, rows, biases in zip(inputs, first.split(sizes), bias.split(sizes), strict=True)
        ]
        values = torch.cat([product.unflatten(1, (-1, units)).transpose(0, 1) for product in wide])
        for weight, offset in zip(later[::2], later[1::2], strict=True):
            values = torch.baddbmm(offset[:, None], F.relu(values), weight.transpose(1, 2))
        return values

    @torch.no_grad()
    def validate(self) -> tuple[list[int | None], list[bool]]:
        """Errors of each row on its validation split, and whether its weights are its best so far; keeps those."""
        if not self.validation_examples:
            self.best_weights = [parameter.detach().clone() for parameter in self.parameters]
            return [None] * len(self.configs), [True] * len(self.configs)
        errors = torch.zeros(len(self.configs), dtype=torch.int64, device=self.device)
        for indices in self._validation_indices.split(1000, dim=1):
            with quick_float32(self.device):
                predictions = self._logits(self.parameters, _taken(self._images, indices), self._sizes).argmax(dim=2)
            of_row = indices[self._batch_of_row]
            if self.configs[0].transfer_set.labelled:
                right = self._labels[of_row]
            else:  # as in Training: the teacher's top class stands in
                right = self._targets(of_row).argmax(dim=2)
            errors += (predictions != right).sum(dim=1)
        counts: list[int] = errors.tolist()
        best = [old is None or new <= old for new, old in zip(counts, self.best_errors, strict=True)]
        rows = torch.tensor(best, device=self.device)
        for kept, parameter in zip(self.best_weights, self.parameters, strict=True):
            kept[rows] = parameter.detach()[rows]
        self.best_errors = [new if now else old for new, old, now in zip(counts, self.best_errors, best, strict=True)]
        return list(counts), best

    def state_dict(self, i: int) -> dict[str, Tensor]:
        """Student i's weights of its best epoch on the validation split, on the CPU, as its built model loads them."""
        row = self.rows[i]
        return {name: kept[row].cpu().clone() for name, kept in zip(self._names, self.best_weights, strict=True)}

    def student(self, i: int) -> Student:
        """Student i as it stands."""
        config, row = self.configs[i], self.rows[i]
        chosen_by = split_of(self.dataset, config)[1]
        return Student(
            config,
            self.dataset,
            self.state_dict(i),
            self.dataset.train_images[chosen_by],
            self.dataset.train_labels[chosen_by],
            self.best_errors[row],
            float(self.epochs_done),
            self.device,
            self.precision,
            self.histories[i],
        )

    @torch.no_grad()
    def test_logits(self) -> Tensor:
        """Each student's logits over the test set with its best weights, (S, N, K) float32 on the CPU."""
        images = [batch.flatten(1)[None].to(self.device) for batch in self.dataset.test_images.split(1000)]
        with quick_float32(self.device):
            batches = [self._logits(self.best_weights, batch, [len(self.configs)]).cpu() for batch in images]
        return torch.cat(batches, dim=1)[self.rows]

    def save(self, path: AnyPath) -> None:
        """Write a checkpoint from which restore goes on exactly. Call it between records. Raises SaveError."""
        state = {
            "configs": [config.model_dump_json() for config in self.configs],
            "epochs_done": self.epochs_done,
            "histories": ["\n".join(history) for history in self.histories],
            "parameters": [parameter.detach() for parameter in self.parameters],
            "optimizer": self.optimizer.state_dict(),
            "best_errors": self.best_errors,
            "best_weights": self.best_weights,
        }
        tensors.save_state(path, state)

    def restore(self, path: AnyPath) -> None:
        """Go on from a checkpoint that save wrote for the same configs. Raises SaveError or ConfigError."""
        state = tensors.load_state(path)
        saved = state.get("configs")
        if not isinstance(saved, list) or tuple(RunConfig.from_json(str(text)) for text in saved) != self.configs:
            raise ConfigError(said("{path} belongs to other configs: start these runs anew", path=str(path)))
        try:
            with torch.no_grad():
                for parameter, saved in zip(self.parameters, state["parameters"], strict=True):
                    parameter.copy_(saved)
            self.optimizer.load_state_dict(state["optimizer"])
            self.best_weights = [kept.to(self.device) for kept in state["best_weights"]]
            self.best_errors = state["best_errors"]
            self.epochs_done = state["epochs_done"]
            self.histories = [text.splitlines() for text in state.get("histories", [""] * len(self.configs))]
        except (KeyError, RuntimeError, ValueError, AttributeError) as error:
            if lacks_memory(error):  # the checkpoint may be whole
                raise
            raise DamagedError(
                said("{path} is no checkpoint of these runs: start them anew.", path=str(path))
            ) from error


def train_together(state: Together) -> Iterator[list[EpochRecord]]:
    """Train to the end, yielding after each epoch one EpochRecord a student, in the order of state.configs.

    A record's seconds are the student's equal share of the group's. The caller may stop asking at any record; state
    can be saved then.
    """
    config, students = state.training, len(state.configs)
    exact = torch.float32 if state.device.type == "mps" else torch.float64  # Apple's GPUs have no float64
    while state.epochs_done < config.epochs:
        start = time.perf_counter()
        order = _epoch_order(state)
        sums = torch.zeros(3, students, dtype=exact, device=state.device)  # loss, soft, hard x examples
        for batch in range(state.steps_per_epoch):
            indices = order[:, batch * config.batch_size : (batch + 1) * config.batch_size]
            rate = learning_rate(config, state.epochs_done * state.steps_per_epoch + batch, state.steps_per_epoch)
            for group in state.optimizer.param_groups:
                group["lr"] = rate
            with quick_float32(state.device):
                parts = state.batch_losses(indices)
                state.optimizer.zero_grad(set_to_none=True)
                parts[0].sum().backward()  # no student's loss depends on another's weights
            state.optimizer.step()
            sums += torch.stack(parts).detach() * indices.shape[1]
        means = (sums / state.examples).T.tolist()
        errors, best = state.validate()
        state.epochs_done += 1
        seconds = (time.perf_counter() - start) / students
        yield [_record(state, row, means[row], rate, errors[row], best[row], seconds) for row in state.rows]


def _taken(rows: Tensor, indices: Tensor) -> Tensor:
    """rows[indices] of a matrix. index_select copies whole rows; indexing copies element by element."""
    taken: Tensor = rows.index_select(0, indices.flatten()).unflatten(0, indices.shape)
    return taken


def _epoch_order(state: Together) -> Tensor:
    """The order of an epoch's examples, (G, N) indices into the training set, a row a seed, as Training draws it."""
    orders = [
        torch.randperm(state.examples, generator=epoch_generator(seed, state.epochs_done)) for seed in state.seeds
    ]
    return state.train_indices.gather(1, torch.stack(orders).to(state.device))


def _record(
    state: Together, row: int, means: list[float], rate: float, errors: int | None, best: bool, seconds: float
) -> EpochRecord:
    loss, soft_loss, hard_loss = means
    return EpochRecord(
        step=state.epochs_done * state.steps_per_epoch,
        epoch=state.epochs_done,
        loss=loss,
        soft_loss=None if math.isnan(soft_loss) else soft_loss,
        hard_loss=None if math.isnan(hard_loss) else hard_loss,
        learning_rate=rate,
        samples_per_second=state.examples / seconds,
        validation_errors=errors,
        validation_accuracy=None if errors is None else 1 - errors / state.validation_examples,
        best=best,
        seconds=seconds,
    )


def _check(configs: Sequence[RunConfig], dataset: Dataset, teacher_logits: Tensor | None) -> None:
    if not configs or not all(trains_together(config) for config in configs):
        raise ConfigError(said("only small plain mlps train together: train these students one by one"))
    taught = {config.distillation.teachers for config in configs if config.distillation is not None}
    if len(set(map(_shared, configs))) > 1 or len(taught) > 1:
        raise ConfigError(said("students that train together share architecture, training, data and teachers"))
    if configs[0].dataset != dataset.name:
        raise ConfigError(
            said("these students learn {theirs}, not {data}", theirs=configs[0].dataset, data=dataset.name)
        )
    if all(config.distillation is None for config in configs):
        return
    if teacher_logits is None:
        raise ConfigError(said("a distilled student needs a teacher"))
    expected = (len(dataset.train_labels), len(dataset.class_names))
    if teacher_logits.dim() != 3 or tuple(teacher_logits.shape[1:]) != expected:
        raise ConfigError(
            said(
                "the teacher's logits have shape {shape}, but {data} has {images} training images and {classes}"
                " classes: choose another teacher",
                shape=tuple(teacher_logits.shape),
                data=dataset.name,
                images=expected[0],
                classes=expected[1],
            )
        )
