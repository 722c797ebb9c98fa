"""Networks of a user's own code, by the import path of a factory, my_pkg.nets:tiny, and a checksum of its file.

Importing runs code, so no name causes it by itself, wherever it stands: in a store, a bundle, an address, a file. Only
factories that KD_NETWORKS lists are imported, in the process that has this variable and in those that it starts.
"""

import copy
import hashlib
import importlib
import inspect
import logging
import math
import os
import re
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kd_core.base.config import ConfigError
from kd_core.base.process import lacks_memory
from kd_core.base.templates import said, said_by
from kd_core.models.architectures.architecture import Architecture, ImageShape, settling

if TYPE_CHECKING:
    from torch import nn

    from kd_core.models.config import ModelConfig

log = logging.getLogger(__name__)

LISTED = "KD_NETWORKS"
"""The variable that lists the factories whose code may be imported, with commas between."""
MOST_CHARACTERS = 200
_PART = "[A-Za-z_][A-Za-z0-9_]*"
_PATH = rf"{_PART}(?:\.{_PART})*:{_PART}"
_NOT_IMPORTED = said("{network} cannot be imported: {why}")
TRIED = 2
"""Images that a new network is shown: batch norm wants more than one."""
_lock = threading.RLock()
_digests: dict[str, str] = {}
"""Module -> checksum of its file as it was imported."""
_made: "weakref.WeakSet[nn.Module]" = weakref.WeakSet()


def is_path(text: str) -> bool:
    """Whether a text is an import path such as my_pkg.nets:tiny."""
    return len(text) <= MOST_CHARACTERS and re.fullmatch(_PATH, text) is not None


def known(name: str) -> bool:
    """Whether a network is called as ModelConfig calls those of own code: PATH@the first 12 digits of a checksum."""
    path, _, digest = name.partition("@")
    return is_path(path) and re.fullmatch("[0-9a-f]{12}", digest) is not None


def path_of(name: str) -> str:
    """A network's name without the checksum."""
    return name.partition("@")[0]


def listed() -> list[str]:
    """The import paths that this process may import."""
    return [path for text in os.environ.get(LISTED, "").split(",") if (path := text.strip())]


def permit(path: str) -> None:
    """Let this process, and those that it starts, import a factory: its user named it in their own shell."""
    if path not in listed():
        os.environ[LISTED] = ",".join([*listed(), path])


def named(path: str) -> str:
    """A network as ModelConfig calls it, its code as it is now. Raises ConfigError where that may not be imported."""
    return f"{path}@{_digest(_file(path))}"


def notice(name: str) -> str:
    """Why a network cannot be built here, or that its code is not what it was, in a sentence; else nothing."""
    try:
        return "" if named(path_of(name)) == name else _changed(name)
    except ConfigError as error:
        return said_by(error)


def check_unchanged(name: str) -> None:
    """Raise ConfigError where a network was built by other code than its name says: training would be of another."""
    path = path_of(name)
    _check_same(name, f"{path}@{_digests[path.partition(':')[0]]}")


def check_trainable(name: str) -> None:
    """Raise ConfigError where a network may not be imported here, or its file is another than its name says."""
    _check_same(name, named(path_of(name)))


def _check_same(name: str, now: str) -> None:
    if now != name:
        raise ConfigError(
            said(
                "the code of {network} has changed since this run was set up: put it back, or start a new run",
                network=path_of(name),
            )
        )


def build(config: "ModelConfig", image_shape: ImageShape, classes: int) -> "nn.Module":
    """What the factory makes, tried on two images. It gets those of num_classes and image_shape that it names.

    The code is the one that the config's checksum says where this process has imported that, else as it is on disk.
    Raises ConfigError where the factory may not be imported, and for each way in which what it makes is no classifier.
    """
    path, _, digest = config.name.partition("@")
    factory = _factory(path, digest)
    given = {"num_classes": classes, "image_shape": image_shape}
    with _in_a_sentence(said("the factory {network} raises {why}"), network=path):
        takes = inspect.signature(factory).parameters
        model = factory(**{name: value for name, value in given.items() if name in takes})
    _try(model, path, image_shape, classes)
    return settling(model, config.norm_momentum) if config.norm_momentum else model


def architecture(name: str) -> Architecture:
    """What a name that is known stands for."""
    return Architecture(path_of(name), build, reads=("norm_momentum",), drops=lambda _: True, bfloat16=False)


def _file(path: str) -> Path:
    """The file of a factory's module, which is not imported, as the packages around it are. Raises ConfigError."""
    from kd_core.base.torchvision import declare_missing_operators

    check_permitted(path)
    declare_missing_operators()  # own code may import torchvision, or timm
    module = path.partition(":")[0]
    with suppress(OSError):  # the folder may be gone
        if (here := str(Path.cwd())) not in sys.path:  # as python -m has it, and an installed command has not
            sys.path.insert(0, here)
    with _in_a_sentence(_NOT_IMPORTED, network=path):
        spec = find_spec(module)
    file = None if spec is None or spec.origin is None else Path(spec.origin)
    if file is None or not file.is_file():
        raise ConfigError(
            said(
                "there is no file of a module {module} for the network {network}: start KD Lab in the folder that holds"
                " it, or name that in PYTHONPATH",
                module=module,
                network=path,
            )
        )
    return file


def check_permitted(path: str) -> None:
    """Raise ConfigError where this process may not import a factory."""
    if path not in listed():
        raise ConfigError(
            said(
                "{network} is of its user's own code, which runs only where KD_NETWORKS lists it: start KD Lab, and"
                " each worker of a cluster, with KD_NETWORKS={network}",
                network=path,
            )
        )
    if not is_path(path):
        raise ConfigError(
            said("KD_NETWORKS lists import paths such as my_pkg.nets:tiny, with commas between; got {path}", path=path)
        )


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]


def _factory(path: str, digest: str) -> Any:
    """The factory, of the code with this checksum where that was imported; else of the code as it is now."""
    check_permitted(path)
    name, _, attribute = path.partition(":")
    with _lock:
        if _digests.get(name) != digest:
            _import(name, path, _digest(_file(path)))
        module = sys.modules[name]
    if _digests[name] != digest:
        _warn(_changed(f"{path}@{digest}"))
    factory = getattr(module, attribute, None)
    if factory is None:
        raise ConfigError(said("{module} has no {factory}", module=name, factory=attribute))
    if not callable(factory):
        raise ConfigError(said("{network} is no function that makes a network", network=path))
    return factory


@cache
def _warn(sentence: str) -> None:
    """Log a sentence once."""
    log.warning(sentence)


def _import(name: str, path: str, digest: str) -> None:
    """Import a module, anew where its file has changed, or may have: its package may import it. digest: of the file."""
    with _in_a_sentence(_NOT_IMPORTED, network=path):
        if name not in sys.modules:
            importlib.import_module(name)
        elif _digests.get(name) != digest:
            importlib.reload(sys.modules[name])
    _digests[name] = digest


def _try(model: Any, path: str, image_shape: ImageShape, classes: int) -> None:
    """Show a network two images, as it is used and as it is trained. Raises ConfigError where it is no classifier."""
    import torch
    from torch import nn

    if not isinstance(model, nn.Module):
        kind = type(model).__name__
        raise ConfigError(said("{network} returns {kind}, no torch.nn.Module", network=path, kind=kind))
    if model in _made:
        raise ConfigError(said("{network} returns the same module again: make a new one in each call", network=path))
    _made.add(model)
    images = torch.linspace(-1, 1, TRIED * math.prod(image_shape)).reshape(TRIED, *image_shape)
    trains, shape = model.training, "x".join(map(str, image_shape))
    sentence = said("{network} cannot look at images of {shape}: {why}")
    with torch.no_grad(), _in_a_sentence(sentence, network=path, shape=shape):
        logits = model.eval()(images)  # the network itself: lazy layers learn their sizes so
        in_training = copy.deepcopy(model).train()(images)
    model.train(trains)
    for output in (logits, in_training):
        given = f"{tuple(output.shape)} {output.dtype}" if torch.is_tensor(output) else type(output).__name__
        if not (torch.is_tensor(output) and output.is_floating_point() and output.shape == (TRIED, classes)):
            raise ConfigError(
                said(
                    "{network} makes {given} of {images} images, and not logits ({images}, {classes})",
                    network=path,
                    given=given,
                    images=TRIED,
                    classes=classes,
                )
            )
        if not (output.is_meta or output.isfinite().all()):
            raise ConfigError(said("{network} makes logits that are no numbers", network=path))
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError(said("{network} has no parameters to train", network=path))


def _changed(name: str) -> str:
    return said(
        "the code of {network} is no longer the one that this run was trained with: its weights may say something else",
        network=path_of(name),
    )


@contextmanager
def _in_a_sentence(sentence: str, **values: object) -> Iterator[None]:
    """Within, what a user's code raises is a ConfigError that ends in its own words, but where memory runs out.

    What it prints goes to standard error, as standard output may be read as JSON. One thread at a time: standard output
    is the whole process's.
    """
    try:
        with _lock, redirect_stdout(sys.stderr):
            yield
    except (Exception, SystemExit) as error:
        if lacks_memory(error):
            raise
        line = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}".rstrip(": ")
        raise ConfigError(said(sentence, why=line, **values)) from error
