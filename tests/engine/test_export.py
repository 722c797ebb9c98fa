"""Every exported file says what the original says, on all test images, or it is not there."""

import dataclasses
import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import safetensors
import torch
from PIL import Image
from tiny import photographed, tiny_config, train_here
from typer.testing import CliRunner

from kd_core.base import tensors
from kd_core.base.files import SaveError
from kd_core.cli.app import app
from kd_core.data import picture
from kd_core.data.sets import digits as digits_set
from kd_core.exchange.export import checks as export_checks
from kd_core.exchange.export import offline_page, snippets, write
from kd_core.exchange.export.checks import ExportError, Options
from kd_core.models.config import ModelConfig
from kd_core.runs import artifacts
from kd_core.runs.store import Store

ROOT = Path(__file__).resolve().parents[2]
MLP = ModelConfig(hidden=(16,))
FLOAT32 = (export_checks.WEIGHTS, export_checks.ONNX, export_checks.PROGRAM)


@pytest.fixture
def few_digits(monkeypatch, digits):
    """So few digits that every architecture can learn from them."""
    few = dataclasses.replace(
        digits,
        train_images=digits.train_images[:160],
        train_labels=digits.train_labels[:160],
        test_images=digits.test_images[:60],
        test_labels=digits.test_labels[:60],
    )
    monkeypatch.setattr(digits_set, "load", lambda: few)
    return few


def trained(store, model=MLP, **training):
    """A run on digits, as its row."""
    return store.get(train_here(store, tiny_config(**training).replace(model=model)))


@pytest.mark.parametrize(
    "model",
    [
        MLP,
        ModelConfig(hidden=()),
        ModelConfig(hidden=(16, 8), batch_norm=True, dropout_hidden=0.5, dropout_input=0.2),
        ModelConfig(name="cnn"),
        ModelConfig(name="resnet18"),
        ModelConfig(name="mobilenet_v3_small"),
    ],
    ids=lambda model: model.label,
)
def test_every_architecture_is_exported_loaded_again_and_agrees(store, few_digits, model):
    run = trained(store, model, epochs=1, batch_size=32)
    checks = write.export_run(store.home, run)
    folder = store.folder(run.id).export
    assert [file.name for file in checks.files] == list(export_checks.MODEL_FILES)
    for file in checks.files:
        assert file.original_test_errors == run.results["test_errors"]
        assert file.test_examples == 60
        if file.name in FLOAT32:
            assert file.passed, file.sentence
            assert file.classes_changed == 0
            assert file.max_logit_difference < (1e-4 if model.name == "mlp" else 1e-2)  # of logits in the hundreds
            assert file.test_errors == run.results["test_errors"]
        if file.name == export_checks.ONNX_FP16:
            assert file.passed, file.sentence
        if file.kept:
            assert file.size_bytes == (folder / file.name).stat().st_size > 0
    sizes = {file.name: file.size_bytes for file in checks.files}
    assert sizes[export_checks.ONNX_INT8] < 0.4 * sizes[export_checks.ONNX]
    assert export_checks.read_checks(store.folder(run.id)) == checks
    assert {path.name for path in folder.iterdir()} == {
        *(file.name for file in checks.files if file.kept),
        *checks.texts,
        export_checks.CHECKS,
    }
    problem = offline_page.browser_page_problem(store.folder(run.id))
    assert (offline_page.browser_page(store.folder(run.id)) is None) == (problem is not None)
    if model.name in ("mlp", "cnn"):
        assert problem is None
    else:
        assert "it knows the mlp and the cnn" in problem


@pytest.fixture(scope="module")
def exported_once(tmp_path_factory):
    """A run of a tiny MLP that has been exported, for all tests: its row, and its folder, which stays as it is."""
    made = Store(tmp_path_factory.mktemp("exported"))
    run = trained(made)
    write.export_run(made.home, run)
    yield run, made.folder(run.id).path
    made.close()


@pytest.fixture
def run(store, exported_once):
    """The same in this test's store."""
    run, folder = exported_once
    shutil.copytree(folder, store.folder(run.id).path)
    store.adopt(run, [], [])
    return run


def test_graphs_take_any_number_of_plain_pixels(store, run, digits):
    folder = store.folder(run.id).export
    original = artifacts.load_trained(store.folder(run.id))
    load = {
        export_checks.ONNX: write.run_onnx,
        export_checks.PROGRAM: write.run_program,
        export_checks.ONNX_INT8: write.run_onnx,
    }
    for name, loaded in load.items():
        model = loaded(folder / name)
        for count in (1, 2, 7):
            images = digits.test_images[:count].numpy()
            difference = np.abs(model(images.astype(np.float32)) - original(images)).max()
            assert difference < (0.5 if name == export_checks.ONNX_INT8 else 1e-4)


def test_exported_graphs_hold_no_file_name_of_this_machine(store, run):
    for name in (export_checks.ONNX, export_checks.ONNX_FP16, export_checks.ONNX_INT8):
        content = (store.folder(run.id).export / name).read_bytes()
        assert b"/kd_core" not in content
        assert b".py" not in content
        graph = onnx.load_from_string(content).graph
        assert [value.name for value in (*graph.input, *graph.output)] == ["images", "logits"]


def test_class_names_and_how_to_read_a_picture_travel_inside_every_file(store, run, digits):
    folder = store.folder(run.id).export
    extra = {write.METADATA: ""}
    torch.export.load(folder / export_checks.PROGRAM, extra_files=extra)
    with safetensors.safe_open(folder / export_checks.WEIGHTS, "pt") as file:
        header = file.metadata()
    travelling = {
        export_checks.WEIGHTS: header,
        export_checks.PROGRAM: json.loads(extra[write.METADATA]),
        **{
            name: {entry.key: entry.value for entry in onnx.load(folder / name).metadata_props}
            for name in (export_checks.ONNX, export_checks.ONNX_FP16, export_checks.ONNX_INT8)
        },
    }
    for name, metadata in travelling.items():
        assert json.loads(metadata["class_names"]) == list(digits.class_names)
        assert json.loads(metadata["image_shape"]) == [1, 28, 28]
        normalisation = json.loads(metadata["normalisation"])
        assert (normalisation["mean"], normalisation["std"]) == (digits.mean, digits.std)
        assert normalisation["inside"] == (name != export_checks.WEIGHTS)
        assert json.loads(metadata["preprocessing"])[0] == "turned as its EXIF orientation says"
        assert metadata["Image.BitmapPixelFormat"] == "Gray8"
    assert travelling[export_checks.WEIGHTS]["format"] == "pt"
    session = onnxruntime.InferenceSession(folder / export_checks.ONNX, providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map == travelling[export_checks.ONNX]


def as_in_downloads(store, run, folder, *names):
    """Files of an export in a folder of their own, as Export's buttons hand them out."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / export_checks.download_name(run.id, name)).write_bytes(
            export_checks.as_downloaded(store.folder(run.id), name)
        )
    return folder


def test_the_model_card_names_the_files_beside_it_here_and_as_downloaded(store, run, tmp_path):
    downloads = as_in_downloads(
        store, run, tmp_path / "new", export_checks.CARD, export_checks.WEIGHTS, export_checks.CONFIG
    )
    here = store.folder(run.id).export
    for card in (here / export_checks.CARD, downloads / export_checks.download_name(run.id, export_checks.CARD)):
        code = card.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
        checked = "\nimport torch\nprint(tuple(logits(torch.zeros(3, 1, 28, 28, dtype=torch.uint8)).shape))"
        result = subprocess.run(
            [sys.executable, "-c", code + checked],
            cwd=card.parent, env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert result.stdout.strip() == "(3, 10)"


@pytest.mark.parametrize("name", [*export_checks.MODEL_FILES, export_checks.CARD, export_checks.CONFIG])
def test_a_damaged_or_missing_file_is_noticed(store, run, name):
    path = store.folder(run.id).export / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert export_checks.read_checks(store.folder(run.id)) is None
    path.write_bytes(whole)
    assert export_checks.read_checks(store.folder(run.id)) is not None
    path.unlink()
    assert export_checks.read_checks(store.folder(run.id)) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 1}', '{"weights_sha256": "0"}', "\udcff"])
def test_checks_that_cannot_be_read_are_no_checks(store, run, text):
    path = store.folder(run.id).export / export_checks.CHECKS
    path.write_bytes(text.encode(errors="surrogateescape"))
    assert export_checks.read_checks(store.folder(run.id)) is None


def test_an_export_of_other_weights_is_not_offered(store, run):
    other = trained(store, epochs=3)
    store.folder(run.id).weights.write_bytes(store.folder(other.id).weights.read_bytes())
    assert export_checks.read_checks(store.folder(run.id)) is None


def test_int8_that_loses_too_much_is_withheld_and_handed_out_on_request(store, monkeypatch, tmp_path):
    def ruined(graph, dataset):
        model = onnx.load_from_string(graph)
        for tensor in model.graph.initializer:
            numbers = onnx.numpy_helper.to_array(tensor)
            if numbers.ndim == 2:
                tensor.CopyFrom(onnx.numpy_helper.from_array(-numbers, tensor.name))
        return model.SerializeToString()

    run = trained(store, epochs=4)
    write.export_run(store.home, run)
    monkeypatch.setattr(write, "to_int8", ruined)
    checks = write.export_run(store.home, run)
    withheld = checks.file(export_checks.ONNX_INT8)
    assert (withheld.passed, withheld.withheld) == (False, True)
    assert "points lost, where 0.2 is tolerated. That is more than chance: p = " in withheld.sentence
    assert withheld.p_value < 0.05
    assert (checks.withheld, export_checks.ONNX_INT8 in checks.passed) == ([export_checks.ONNX_INT8], False)
    assert export_checks.read_checks(store.folder(run.id)) == checks
    assert b"model.onnx" in offline_page.browser_page(store.folder(run.id))
    for words in ([], ["--anyway"]):
        done = CliRunner().invoke(app, ["export", run.id, "--out", str(tmp_path / "".join(words)), *words])
        assert (done.exit_code, (tmp_path / "".join(words) / export_checks.ONNX_INT8).exists()) == (0, bool(words))
        assert "is worse by more than chance" in done.stderr


def test_a_file_that_gives_no_numbers_is_removed_and_may_not_come_back(store, monkeypatch):
    def nothing(graph, dataset):
        model = onnx.load_from_string(graph)
        for tensor in model.graph.initializer:
            numbers = onnx.numpy_helper.to_array(tensor)
            if numbers.ndim == 2:
                tensor.CopyFrom(onnx.numpy_helper.from_array(numbers * np.float32(np.nan), tensor.name))
        return model.SerializeToString()

    run = trained(store)
    monkeypatch.setattr(write, "to_int8", nothing)
    checks = write.export_run(store.home, run)
    refused = checks.file(export_checks.ONNX_INT8)
    assert (refused.kept, refused.sentence.startswith("Refused: ")) == (False, True)
    path = store.folder(run.id).export / export_checks.ONNX_INT8
    assert not path.exists()
    assert export_checks.read_checks(store.folder(run.id)) == checks
    path.write_bytes(b"put back")
    assert export_checks.read_checks(store.folder(run.id)) is None


@pytest.mark.parametrize("options", [Options(opset=export_checks.OPSETS[1]), Options(batch=1), Options(batch=7)])
def test_opset_and_batch_are_as_chosen_and_every_file_still_agrees(store, run, digits, options):
    checks = write.export_run(store.home, run, options=options)
    assert checks.options == options
    folder = store.folder(run.id)
    for name in FLOAT32:
        assert checks.file(name).passed, checks.file(name).sentence
    for name in (export_checks.ONNX, export_checks.ONNX_FP16, export_checks.ONNX_INT8):
        model = onnx.load(folder.export / name)
        assert {entry.version for entry in model.opset_import if entry.domain == ""} == {options.opset}
        for value in (*model.graph.input, *model.graph.output):
            batch = value.type.tensor_type.shape.dim[0]
            assert (batch.dim_value or batch.dim_param) == (options.batch or "N")
    assert bool(export_checks.for_runtime(folder)) == (options.batch is None)
    problem = offline_page.browser_page_problem(folder)
    assert (problem is None) == (options.batch != 7)


def test_files_for_opset_18_say_that_any_runtime_since_2023_may_read_them(store, run):
    for name in (export_checks.ONNX, export_checks.ONNX_FP16):
        assert onnx.load(store.folder(run.id).export / name).ir_version <= 8


def test_a_program_for_a_fixed_number_of_images_fills_it_with_its_picture(
    store, run, digits, tmp_path, monkeypatch, capsys
):
    checks = write.export_run(store.home, run, options=Options(batch=3))
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "model.onnx").write_bytes((store.folder(run.id).export / "model.onnx").read_bytes())
    (folder / "classify.py").write_text(snippets.classify(store.folder(run.id), checks), encoding="utf-8")
    photographed(digits.test_images[5][0].numpy()).save(folder / "photo.jpg")
    printed = in_this_process(folder, ["photo.jpg"], monkeypatch, capsys)
    image = picture.read_picture((folder / "photo.jpg").read_bytes())[None, None]
    expected = torch.from_numpy(artifacts.load_trained(store.folder(run.id))(image)[0]).softmax(dim=0).tolist()
    assert_best_first(printed, digits.class_names, expected)


def test_what_a_visitor_wants_written_anew_is_written_so(store, run):
    folder = store.folder(run.id)
    export_checks.write_anew(folder, Options(opset=20))
    assert export_checks.read_checks(folder) is None
    assert write.export_run(store.home, run).options == Options(opset=20)
    assert export_checks.read_checks(folder).versions["opset"] == 20


def test_an_export_of_before_december_2026_is_still_read(store, run):
    folder = store.folder(run.id)
    content = json.loads((folder.export / export_checks.CHECKS).read_text(encoding="utf-8"))
    del content["options"]
    content["files"] = [file for file in content["files"] if file["name"] != export_checks.ONNX_FP16]
    for file in content["files"]:
        for name in ("withheld", "p_value", "differing", "tolerance"):
            del file[name]
    (folder.export / export_checks.ONNX_FP16).unlink()
    (folder.export / export_checks.CHECKS).write_text(json.dumps(content), encoding="utf-8")
    checks = export_checks.read_checks(folder)
    assert checks.options == Options()
    assert export_checks.ONNX in checks.passed
    assert offline_page.browser_page(folder)
    refused = checks.file(export_checks.ONNX_INT8).replace(passed=False, test_errors=100, original_test_errors=9)
    assert refused.in_words.endswith("points lost, and 0.2 is the most that int8 may lose.")


def judged(difference, *, rounded=False, images=1000, wrong=0, right=0, size=1.0, tolerance=0.002):
    """The verdict on logits that are off by so much, that get so many images wrong on top and so many right."""
    labels = np.arange(images) % 10
    original = (size * np.eye(10, dtype=np.float32))[labels]
    logits = original + np.float32(difference)
    logits[:wrong] = np.roll(logits[:wrong], 1, axis=1)
    original[wrong : wrong + right] = np.roll(original[wrong : wrong + right], 1, axis=1)
    return write.judge(original, logits, labels, rounded=rounded, tolerance=tolerance)


def test_float32_passes_below_the_tolerance_only():
    assert judged(9e-5).passed
    assert not judged(2e-4).passed
    assert judged(2e-4, size=12.0).passed  # as ONNX Runtime adds up what thirty layers of a MobileNetV4 did
    assert not judged(2e-3, size=12.0).passed
    assert not judged(0.0, wrong=1).passed
    assert "1 of 1,000 test images get another class" in judged(0.0, wrong=1).sentence


def test_what_is_rounded_may_lose_the_tolerance_or_what_can_be_chance():
    within = judged(0.3, rounded=True, images=10_000, wrong=20)  # p = 2e-6, and a fifth of a point is tolerated
    assert within.passed
    assert not within.beyond
    assert not judged(0.3, rounded=True, images=10_000, wrong=21).passed
    assert judged(0.3, rounded=True, images=10_000, wrong=21, tolerance=0.0021).passed
    for wrong, right, passes in ((5, 0, True), (6, 0, False), (15, 5, False), (14, 6, True)):  # p = 0.06 0.03 0.04 0.1
        verdict = judged(0.3, rounded=True, images=411, wrong=wrong, right=right)
        assert (verdict.passed, verdict.withheld, verdict.beyond) == (passes, not passes, True)
        assert verdict.differing == wrong + right
        assert ("can be chance" in verdict.sentence) == passes
    assert judged(0.3, rounded=True, images=411, wrong=0, right=9).sentence.endswith("points won.")


@pytest.mark.parametrize("rounded", [False, True])
def test_logits_that_are_no_numbers_are_refused(rounded):
    verdict = judged(np.nan, rounded=rounded)
    assert (verdict.passed, verdict.withheld) == (False, False)
    assert "not numbers" in verdict.sentence
    json.dumps(verdict.model_dump(), allow_nan=False)


def test_what_cannot_be_exported_is_one_sentence(store, home):
    config = tiny_config()
    store.create({"a1": config})
    with pytest.raises(ExportError, match="is queued and left no weights to export"):
        write.export_run(home, store.get("a1"))
    run = trained(store)
    store.folder(run.id).weights.unlink()
    with pytest.raises(SaveError, match="missing"):
        write.export_run(home, run)
    assert export_checks.read_checks(store.folder(run.id)) is None


def test_a_model_that_diverged_is_not_exported(store):
    run = trained(store)
    path = store.folder(run.id).weights
    tensors.save_tensors(path, {name: tensor * torch.nan for name, tensor in tensors.load_tensors(path).items()})
    with pytest.raises(ExportError, match="diverged"):
        write.export_run(store.home, run)


def test_progress_is_told_and_may_cancel(store):
    run = trained(store)
    heard = []
    write.export_run(store.home, run, lambda text, share: heard.append((text, share)))
    shares = [share for _, share in heard]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0

    def cancel(text, share):
        if share > 0.4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write.export_run(store.home, run, cancel)
    assert export_checks.read_checks(store.folder(run.id)) is None


def images_of(store, run, *, digits=True):
    """What its export's snippets are given by the page."""
    trained = artifacts.load_trained(store.folder(run.id))
    return snippets.Images((1, 28, 28), trained.class_names, trained.mean, trained.std, digits)


def assert_best_first(printed, class_names, probabilities):
    """What a classify.py printed: a class and its probability a line, the most probable first."""
    rows = [line.split("\t") for line in printed.splitlines()]
    shares = [float(share) for _, share in rows]
    assert shares == sorted(shares, reverse=True)
    assert {name: share for (name, _), share in zip(rows, shares, strict=True)} == pytest.approx(
        dict(zip(class_names, map(float, probabilities), strict=True)), abs=1e-5
    )


def in_this_process(folder, words, monkeypatch, capsys):
    """The output of folder's classify.py, without the seconds that torch takes to be imported."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["classify.py", *words])
    runpy.run_path("classify.py", run_name="__main__")
    return capsys.readouterr().out


def in_a_process_of_its_own(folder, words):
    """The same of a program that must leave nothing in its user's home."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    environment = {
        key: value for key, value in os.environ.items() if key not in ("ORT_DISABLE_TELEMETRY", "PYTHONPATH")
    }
    result = subprocess.run(
        [sys.executable, "classify.py", *words],
        cwd=folder, env={**environment, "HOME": str(home), "XDG_CACHE_HOME": str(home)},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert list(home.iterdir()) == []
    return result.stdout


@pytest.mark.parametrize("kind", export_checks.MODEL_FILES)
def test_each_kinds_snippet_reads_a_photographed_digit_as_the_app_does(
    store, run, digits, tmp_path, monkeypatch, capsys, kind
):
    folder = as_in_downloads(store, run, tmp_path / "new", kind)
    images = images_of(store, run)
    program = snippets.python_snippet(kind, export_checks.download_name(run.id, kind), images)
    (folder / "classify.py").write_text(program, encoding="utf-8")
    photographed(digits.test_images[5][0].numpy()).save(folder / "photo.jpg")
    digit = picture.read_picture((folder / "photo.jpg").read_bytes())[None, None]
    if kind in export_checks.ROUNDED:
        logits = write.run_onnx(store.folder(run.id).export / kind)(digit.astype(np.float32))[0]
    else:
        logits = artifacts.load_trained(store.folder(run.id))(digit)[0]
    for words, temperature in (["photo.jpg"], 1.0), (["photo.jpg", "4"], 4.0):
        if kind == export_checks.ONNX:
            printed = in_a_process_of_its_own(folder, words)
        else:
            printed = in_this_process(folder, words, monkeypatch, capsys)
        assert_best_first(printed, digits.class_names, torch.from_numpy(logits / temperature).softmax(dim=0).tolist())


def test_a_snippet_for_other_pictures_takes_their_middle(store, run, digits, tmp_path, monkeypatch, capsys):
    folder = as_in_downloads(store, run, tmp_path / "new", export_checks.PROGRAM)
    file = export_checks.download_name(run.id, export_checks.PROGRAM)
    program = snippets.python_snippet(export_checks.PROGRAM, file, images_of(store, run, digits=False))
    (folder / "classify.py").write_text(program, encoding="utf-8")
    small = np.random.default_rng(3).integers(0, 256, (6, 9, 3), np.uint8)
    Image.fromarray(small).resize((90, 60), Image.Resampling.BICUBIC).save(folder / "picture.png")
    printed = in_this_process(folder, ["picture.png"], monkeypatch, capsys)
    image = picture.read_for((folder / "picture.png").read_bytes(), (1, 28, 28))[None]
    logits = artifacts.load_trained(store.folder(run.id))(image)[0]
    assert_best_first(printed, digits.class_names, torch.from_numpy(logits).softmax(dim=0).tolist())


def test_the_browser_snippet_pins_its_library_and_names_the_classes():
    images = snippets.Images((3, 32, 32), ("cat", "</script>"), 0.5, 0.25, digits=False)
    text = snippets.browser_snippet("ab-model.onnx", images)
    assert f"onnxruntime-web@{snippets.ORT_WEB}/" in text
    assert snippets.ORT_WEB_INTEGRITY in text
    assert text.count("</script>") == 2
    assert "CHANNELS = 3, HEIGHT = 32, WIDTH = 32" in text
    for kind in export_checks.MODEL_FILES:
        compile(snippets.python_snippet(kind, kind, images), "classify.py", "exec")


def test_a_page_is_one_file_that_names_nothing_elsewhere(store, run):
    page = offline_page.browser_page(store.folder(run.id)).decode()
    assert offline_page.browser_page_problem(store.folder(run.id)) is None
    assert "@@" not in page
    for word in ("http:", "https:", "//cdn", "import(", "fetch(", 'src="', 'href="'):
        assert word not in page


def test_without_a_page_a_sentence_says_why(store, run, monkeypatch):
    monkeypatch.setattr(offline_page, "MAX_BYTES", 1000)
    assert offline_page.browser_page(store.folder(run.id)) is None
    assert "MB is the most" in offline_page.browser_page_problem(store.folder(run.id))
    (store.folder(run.id).export / export_checks.CHECKS).unlink()
    assert offline_page.browser_page(store.folder(run.id)) is None
    assert "export it first" in offline_page.browser_page_problem(store.folder(run.id))


def test_the_shell_exports_and_copies(store, run, tmp_path):
    runner = CliRunner()
    result = runner.invoke(app, ["export", run.id, "--out", str(tmp_path / "out")], env={"COLUMNS": "300"})
    assert result.exit_code == 0, result.output
    for name in export_checks.MODEL_FILES:
        assert name in result.stdout
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        *export_checks.MODEL_FILES,
        export_checks.CARD,
        export_checks.CONFIG,
        export_checks.CHECKS,
        "draw.html",
        "classify.py",
    }
    assert 'InferenceSession("model.onnx"' in (tmp_path / "out" / "classify.py").read_text(encoding="utf-8")
    refused = runner.invoke(app, ["export", "nobody"])
    assert refused.exit_code == 2
    assert "there is no run 'nobody'" in refused.stderr


def test_the_shell_lists_the_worst_and_writes_all_predictions(store, run, tmp_path, digits):
    runner, wide = CliRunner(), {"COLUMNS": "300"}
    for ending, read in (("csv", pd.read_csv), ("parquet", pd.read_parquet)):
        file = tmp_path / f"said.{ending}"
        words = ["predictions", run.id, "--out", str(file), "--worst", "3", "--pictures", str(tmp_path / ending)]
        done = runner.invoke(app, words, env=wide)
        assert done.exit_code == 0, done.output
        rows = read(file)
        assert len(rows) == len(digits.test_labels)
        assert (~rows["correct"]).sum() == run.results["test_errors"]
        worst = rows[~rows["correct"]].sort_values("loss", ascending=False)["image"].head(3)
        pictures = sorted((tmp_path / ending).iterdir())
        assert [int(path.stem.split("-")[-1]) for path in pictures] == [*worst]
        for path, index in zip(pictures, worst, strict=True):
            assert (np.asarray(Image.open(path)) == digits.test_images[index][0].numpy()).all()
            assert f"\u2502 {index} " in done.stdout
        refused = runner.invoke(app, words, env=wide)
        assert refused.exit_code == 2
        assert "is there already" in refused.stderr
    refused = runner.invoke(app, ["predictions", run.id, "--out", "said.xlsx"])
    assert "--out must end in .csv or .parquet" in refused.stderr
