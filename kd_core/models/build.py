"""Name -> nn.Module: float images (N, C, H, W) in, logits (N, K) out. Also its parameters and multiply-adds.

The smallest image side that cnn and the torchvision models take is 8 pixels.
"""

import copy
from collections.abc import Callable
from itertools import chain

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kd_core.base.config import ConfigError
from kd_core.models.arithmetic import quick_float32
from kd_core.models.config import BLACK_BOX, ModelConfig

ImageShape = tuple[int, int, int]


def build(config: ModelConfig, image_shape: ImageShape, classes: int) -> nn.Module:
    """A fresh model. Its initial weights are set by torch's global generator (torch.manual_seed).

    image_shape: (C, H, W). classes: K. Raises ConfigError for a black box, of which there is none but its user's.
    """
    if config.name == BLACK_BOX:
        raise ConfigError("a black box cannot be built: it is what its user brought")
    return _BUILDERS[config.name](config, image_shape, classes)


def blueprint(config: ModelConfig, image_shape: ImageShape, classes: int) -> nn.Module:
    """The model without its numbers, on the meta device: whatever its size, it takes no memory and no time to build."""
    with torch.device("meta"):
        return build(config, image_shape, classes)


def parameter_count(model: nn.Module) -> int:
    """Trainable numbers in the model."""
    return sum(parameter.numel() for parameter in model.parameters())


def multiply_adds(model: nn.Module, image_shape: ImageShape) -> int:
    """Multiply-adds of one image's forward pass, by torch's own operator counter; additions of biases do not count.

    Counted on the meta device, where nothing is computed.
    """
    counted = copy.deepcopy(model).to("meta").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        counted(torch.zeros(1, *image_shape, device="meta"))
    return int(counter.get_total_flops()) // 2


class Dropout(nn.Dropout):
    """nn.Dropout, with masks that cost little on a CPU.

    There torch draws one double a unit: half the time of a step of the paper's teacher (two cores, torch 2.13). Here
    four units share 64 random bits, 16 each, so p is met to within 1/65,536. Other devices use torch's own.
    """

    def forward(self, values: Tensor) -> Tensor:
        """Any shape -> same shape: each value is 0 with probability p, else divided by 1 - p. Identity in eval mode."""
        if not self.training or values.device.type != "cpu":
            return super().forward(values)
        words = torch.empty((values.numel() + 3) // 4, dtype=torch.int64)
        words.random_(torch.iinfo(torch.int64).min, None)
        lanes = words.view(torch.int16)[: values.numel()].view(values.shape)
        dropped = round(self.p * 65_536)
        mask = (lanes >= dropped - 32_768).to(values.dtype)
        return values * mask.mul_(65_536 / (65_536 - dropped))


def _mlp(config: ModelConfig, image_shape: ImageShape, classes: int) -> nn.Module:
    """Fully connected layers with ReLU, as in Hinton et al., section 3; dropout on the input and after each layer."""
    channels, height, width = image_shape
    layers: list[nn.Module] = [nn.Flatten()]
    if config.dropout_input:
        layers.append(Dropout(config.dropout_input))
    units = channels * height * width
    for hidden in config.hidden:
        layers.append(nn.Linear(units, hidden))
        if config.batch_norm:
            layers.append(nn.BatchNorm1d(hidden))
        layers.append(nn.ReLU())
        if config.dropout_hidden:
            layers.append(Dropout(config.dropout_hidden))
        units = hidden
    layers.append(nn.Linear(units, classes))
    return nn.Sequential(*layers)


def _cnn(config: ModelConfig, image_shape: ImageShape, classes: int) -> nn.Module:
    """3x3 convolutions, each with batch norm, ReLU and 2x2 max pooling, then one hidden layer of 128."""
    channels, height, width = image_shape
    halvings = 2 ** len(config.channels)
    features = config.channels[-1] * (height // halvings) * (width // halvings)
    # the head is drawn first: seeds keep giving the weights that they have always given
    head = [nn.Flatten(), nn.Linear(features, 128), nn.ReLU(), nn.Linear(128, classes)]
    layers: list[nn.Module] = []
    for outputs in config.channels:
        convolution = nn.Conv2d(channels, outputs, kernel_size=3, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]
        channels = outputs
    return nn.Sequential(*layers, *head)


def _resnet18(config: ModelConfig, image_shape: ImageShape, classes: int) -> nn.Module:
    """Torchvision's ResNet-18 with the stem for small images: 3x3 at stride 1, no max pooling (He et al. 2015, 4.2)."""
    from kd_core.base.torchvision import torchvision

    model: nn.Module = torchvision().models.resnet18(weights=None, num_classes=classes)
    model.conv1 = nn.Conv2d(image_shape[0], 64, kernel_size=3, stride=1, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model


def _mobilenet_v3_small(config: ModelConfig, image_shape: ImageShape, classes: int) -> nn.Module:
    """Torchvision's MobileNetV3 small with a first convolution of stride 1: small images keep their detail."""
    from kd_core.base.torchvision import torchvision

    model: nn.Module = torchvision().models.mobilenet_v3_small(weights=None, num_classes=classes)
    stem = nn.Conv2d(image_shape[0], 16, kernel_size=3, stride=1, padding=1, bias=False)
    model.get_submodule("features.0")[0] = stem  # type: ignore[operator]
    return model


_BUILDERS = {"mlp": _mlp, "cnn": _cnn, "resnet18": _resnet18, "mobilenet_v3_small": _mobilenet_v3_small}


@torch.no_grad()
def logits_of(
    model: nn.Module, images: Tensor, normalise: Callable[[Tensor], Tensor], *, batch_size: int = 1000
) -> Tensor:
    """Logits of many images, (N, K) float32 on the CPU, with the model in eval mode and its mode put back after.

    images: (N, C, H, W) uint8. normalise: Dataset.normalise. The batches are cut the same way every time, so the
    same weights give the same logits to the last bit on the same machine.
    """
    device = next(chain(model.parameters(), model.buffers())).device  # a black box has no parameters
    was_training = model.training
    model.eval()
    with quick_float32(device):
        batches = [model(normalise(batch.to(device))).float().cpu() for batch in images.split(batch_size)]
    model.train(was_training)
    return torch.cat(batches)
