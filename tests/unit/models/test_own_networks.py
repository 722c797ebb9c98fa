"""Networks of own code: imported only where KD_NETWORKS lists them, tried, trained, shown without their code."""

import io
import itertools
import json
import sys
import textwrap
import zipfile

import pytest
from tiny import tiny_config, train_here
from typer.testing import CliRunner

from kd_core.base.config import ConfigError
from kd_core.cli import watch
from kd_core.cli.app import app
from kd_core.exchange import bundle
from kd_core.experiments import defaults
from kd_core.experiments.story import StoryConfig
from kd_core.experiments.table import Redo
from kd_core.jobs.queue import Jobs
from kd_core.models import build
from kd_core.models.architectures import own
from kd_core.models.config import ModelConfig
from kd_core.runs import artifacts, checks
from kd_core.runs.reading import check_code
from kd_core.runs.store import Store
from kd_core.training import memory
from kd_core.training.loop import Training
from pages.shared.session.story import of_address, to_address

GREY = (1, 8, 8)
EVIL = "evil:boom@0123456789ab"
TINY = """
from torch import nn

def tiny(num_classes, image_shape):
    convolution = nn.Conv2d(image_shape[0], 4, 3, stride=2)
    return nn.Sequential(convolution, nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(num_classes))
"""
NUMBERS = itertools.count()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """module(text) -> the name of a module with this text in a package on the path, which no other test has."""
    package = f"own_package_{next(NUMBERS)}"
    folder = tmp_path / "code" / package
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a second text of the same length in the same second
    monkeypatch.delenv(own.LISTED, raising=False)

    def written(text, name="nets"):
        (folder / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
        return f"{package}.{name}"

    return written


def permitted(monkeypatch, path):
    """A permitted factory as ModelConfig has it."""
    monkeypatch.setenv(own.LISTED, f"other:net, {path}")
    return ModelConfig(name=own.named(path))


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """A module on the path that leaves a file where it is imported; returns that file."""
    trace = tmp_path / "trace"
    (tmp_path / "evil.py").write_text(f"open({str(trace)!r}, 'w').close()\ndef boom(): pass\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv(own.LISTED, raising=False)
    yield trace
    assert "evil" not in sys.modules
    assert not trace.exists()


def test_a_name_that_is_not_listed_imports_nothing_wherever_it_stands(evil, store):
    model = ModelConfig(name=EVIL)
    assert model.label == "evil:boom"
    assert own.notice(EVIL).values == {"network": "evil:boom"}  # Said, so that a page can translate it
    for use in (lambda: build.build(model, GREY, 10), lambda: own.named("evil:boom"),
                lambda: defaults.network("evil:boom")):  # fmt: skip
        with pytest.raises(ConfigError, match="runs only where KD_NETWORKS lists it"):
            use()
    run_id = train_here(store, tiny_config().replace(model=model))
    assert store.get(run_id).status == "failed"
    assert "KD_NETWORKS" in store.get(run_id).message


def test_a_bundle_that_names_code_imports_nothing_and_is_taken_in(evil, store, tmp_path):
    there = Store(tmp_path / "there")
    packed = bundle.pack(there, train_here(there, tiny_config()))
    there.close()
    members = bundle._members(packed)
    for name in ("config.json", "card.json"):
        text = json.loads(members[name])
        text.get("config", text)["model"]["name"] = EVIL
        members[name] = json.dumps(text).encode()
    run_id = bundle.unpack(store, zipped(members))
    run = store.get(run_id)
    assert run.config.network == "evil:boom"
    assert artifacts.test_logits(store.folder(run_id)).shape == (run.results["test_examples"], 10)
    with pytest.raises(ConfigError, match="KD_NETWORKS=evil:boom"):
        artifacts.load_trained(store.folder(run_id))
    assert bundle.unpack(Store(tmp_path / "again"), bundle.pack(store, run_id)) == run_id
    compared = CliRunner().invoke(app, ["compare", run_id, run_id])
    assert compared.exit_code == 0
    assert "no speed is measured: evil:boom is of its user's own code" in compared.stderr


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in bundle.MEMBERS:
            archive.writestr(name, members.get(name, b""))
    return buffer.getvalue()


def test_an_address_and_a_config_file_that_name_code_import_nothing(evil, home, tmp_path):
    story = of_address(to_address(StoryConfig.default("digits").replace(student=ModelConfig(name=EVIL))))
    assert story.student.label == "evil:boom"
    file = tmp_path / "config.toml"
    for name in (EVIL, "evil:boom"):
        file.write_text(f'role = "baseline"\ndataset = "digits"\n[model]\nname = "{name}"\n', encoding="utf-8")
        refused = CliRunner().invoke(app, ["run", str(file)])
        assert refused.exit_code == 2
        assert "KD_NETWORKS=evil:boom" in refused.stderr


def test_naming_it_in_the_shell_is_consent(module, home):
    path = f"{module(TINY)}:tiny"
    done = CliRunner().invoke(app, ["train", "--model", path, "--dataset", "digits", "--epochs", "1"])
    assert done.exit_code == 0, done.output
    assert path in own.listed()


@pytest.mark.parametrize(
    "name",
    ["os:system", "a" * 200 + ":b@0123456789ab", "a.b@0123456789ab", "a:b.c@0123456789ab", "a:b()@0123456789ab",
     "é:b@0123456789ab", "a:b@0123"],
)  # fmt: skip
def test_what_is_no_path_with_a_checksum_is_no_network(name):
    with pytest.raises(ConfigError, match="unknown model"):
        ModelConfig(name=name)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("import nowhere_at_all", "cannot be imported: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("raise SystemExit(3)", "cannot be imported: SystemExit: 3"),
        ("def net(:", "cannot be imported: SyntaxError"),
        ("other = 1", "has no net"),
        ("net = 1", "is no function that makes a network"),
        ("def net():\n    raise KeyError('width')", "the factory .* raises KeyError: 'width'"),
        ("def net(depth):\n    pass", "the factory .* raises TypeError: .*depth"),
        ("def net():\n    return 3", "returns int, no torch.nn.Module"),
        ("def net():\n    return nn.Linear(64, 10)", "cannot look at images of 1x8x8: RuntimeError"),
        ("def net():\n    return nn.Conv2d(1, 10, 3)", r"makes \(2, 10, 6, 6\) torch.float32 of 2 images, and not"),
        ("def net():\n    return nn.Flatten()", r"makes \(2, 64\) torch.float32 of 2 images, and not logits \(2, 10\)"),
        ("def net():\n    return nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(10))", "has no parameters to train"),
        ("ONLY = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\ndef net():\n    return ONLY", "the same module again"),
        ("class net(nn.Module):\n    def forward(self, x):\n        return x / 0", "of 2 images, and not logits"),
        (
            "class Naught(nn.Linear):\n    def forward(self, x):\n        return super().forward(x.flatten(1)) / 0\n"
            "def net():\n    return Naught(64, 10)",
            "makes logits that are no numbers",
        ),
        (
            "class Noisy(nn.Linear):\n    def forward(self, x):\n"
            "        return super().forward(x.flatten(1)) / (not self.training)\ndef net():\n    return Noisy(64, 10)",
            "makes logits that are no numbers",
        ),
    ],
)
def test_each_way_in_which_a_factory_makes_no_classifier_is_a_sentence(body, sentence, module, monkeypatch):
    model = permitted(monkeypatch, f"{module('from torch import nn' + chr(10) + body)}:net")
    made = (build.build(model, GREY, 10) for _ in range(2))
    with pytest.raises(ConfigError, match=sentence):
        list(made)


def test_a_module_that_is_nowhere_and_a_list_that_is_none_are_sentences(module, monkeypatch):
    monkeypatch.setenv(own.LISTED, "nowhere_at_all:net,what is this")
    with pytest.raises(ConfigError, match="there is no file of a module nowhere_at_all"):
        own.named("nowhere_at_all:net")
    with pytest.raises(ConfigError, match=r"KD_NETWORKS lists import paths such as my_pkg\.nets:tiny"):
        own.named("what is this")


def test_a_network_is_counted_though_its_factory_computes(module, monkeypatch):
    text = """
        import torch
        from torch import nn

        def net(num_classes):
            width = int(torch.linspace(1, 5, 3)[1].item())
            return nn.Sequential(nn.Flatten(), nn.LazyLinear(width), nn.Linear(width, num_classes))
    """
    model = permitted(monkeypatch, f"{module(text)}:net")
    network = build.blueprint(model, GREY, 10)
    assert build.parameter_count(network) == 65 * 3 + 4 * 10
    assert build.multiply_adds(network, GREY) == 64 * 3 + 3 * 10
    memory.memory_of(tiny_config().replace(model=model))


def test_a_module_that_its_package_imports_is_the_one_on_disk(module, monkeypatch):
    package = module(TINY).partition(".")[0]
    module("from . import nets", name="__init__")
    permitted(monkeypatch, f"{package}.nets:tiny")
    module(TINY.replace("4", "5"))
    assert build.build(permitted(monkeypatch, f"{package}.nets:tiny"), GREY, 10)[0].out_channels == 5


def test_batch_norm_stays_as_its_author_made_it_unless_a_momentum_is_set(module, monkeypatch):
    text = TINY.replace("BatchNorm2d(4)", "BatchNorm2d(4, momentum=0.02)")
    model = permitted(monkeypatch, f"{module(text)}:tiny")
    assert build.build(model, GREY, 10)[1].momentum == 0.02
    assert build.build(model.replace(norm_momentum=0.3), GREY, 10)[1].momentum == 0.3


def test_changed_code_is_used_with_a_warning_and_trained_no_further(module, monkeypatch, store, digits, caplog):
    name = module(TINY)
    model = permitted(monkeypatch, f"{name}:tiny")
    config = tiny_config().replace(model=model)
    run_id = train_here(store, config)
    training = Training(config, digits)
    module(TINY + "\n# another one\n")
    training.best_model()  # of the code that training began with
    monkeypatch.delitem(own._digests, name)
    monkeypatch.delitem(sys.modules, name)
    assert "no longer the one that this run was trained with" in own.notice(model.name)
    artifacts.load_trained(store.folder(run_id))
    assert own.notice(model.name) in caplog.text
    with pytest.raises(ConfigError, match=r"has changed since this run was set up: put it back"):
        Training(config, digits)
    module(TINY.replace("4", "5"))
    again = ModelConfig(name=own.named(model.label))
    assert build.build(again, GREY, 10)[0].out_channels == 5  # the file as it is, in the same process
    with pytest.raises(ConfigError, match="these weights do not fit"):
        artifacts.load_model(store.folder(run_id), digits)


def test_code_that_is_not_listed_is_neither_resumed_nor_a_finding(evil, store):
    run_id = train_here(store, tiny_config().replace(model=ModelConfig(name=EVIL)))
    before = store.get(run_id)
    queue = Jobs(store)
    for use in (lambda: queue.find_out("inside", [run_id]), lambda: queue.resume(run_id)):
        with pytest.raises(ConfigError, match="runs only where KD_NETWORKS lists it"):
            use()
    config = tiny_config("distilled", teachers=(run_id,))
    store.create({"taught": config})
    store.apply("taught", {"kind": "paused", "text": "resting"})
    for use in (lambda: queue.resume("taught"), lambda: check_code(store, {"new": config})):
        with pytest.raises(ConfigError, match="runs only where KD_NETWORKS lists it"):
            use()
    queue.close()
    assert CliRunner().invoke(app, ["resume", run_id]).exit_code == 2
    assert store.get(run_id) == before
    assert store.finding("inside", [run_id]) is None


def test_a_run_of_code_that_changed_is_refused_before_it_is_entered(module, monkeypatch, store):
    name = module(TINY)
    config = tiny_config().replace(model=permitted(monkeypatch, f"{name}:tiny"))
    module(TINY + "\n# another\n")
    with pytest.raises(ConfigError, match="has changed since this run was set up"):
        checks.check(store, {"new": config})


@pytest.mark.parametrize("train", [watch.train_missing, watch.train_in_groups])
def test_no_run_of_a_plan_is_trained_where_one_cannot_be(evil, store, train):
    plan = {"first": tiny_config("baseline"), "second": tiny_config().replace(model=ModelConfig(name=EVIL))}
    with pytest.raises(ConfigError, match="runs only where KD_NETWORKS lists it"):
        train(store, Redo({}, plan, ()))
    assert store.runs() == []


def test_what_own_code_prints_is_no_output_of_the_shells(module, monkeypatch, capsys):
    name = module("print('imported')\n" + TINY.replace("def tiny", "print('read')\n\ndef tiny"))
    build.build(permitted(monkeypatch, f"{name}:tiny"), GREY, 10)
    assert capsys.readouterr().out == ""


CHATTY = """
from torch import nn

class Chatty(nn.Linear):
    def forward(self, images):
        print("looking")
        return super().forward(images.flatten(1))

def tiny():
    return Chatty(784, 10)
"""


def test_what_a_network_prints_is_no_part_of_the_shells_json(module, monkeypatch, home):
    path = f"{module(CHATTY)}:tiny"
    runner, tiny = CliRunner(), ["--model", path, "--epochs", "1"]
    trained = runner.invoke(app, ["train", "--dataset", "digits", *tiny, "--json"])
    assert "looking" in trained.stderr
    assert trained.exit_code == 0, trained.output
    run = json.loads(trained.stdout)
    predicted = runner.invoke(app, ["predictions", run["id"], "--json"]).stdout.splitlines()
    assert predicted
    assert all("predicted" in json.loads(line) for line in predicted)
