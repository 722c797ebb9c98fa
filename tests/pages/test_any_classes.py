"""Any number and names of classes, grey or colour, any size: figures, widgets and pages on what is not handwritten."""

import base64
import io
import json
import re

import numpy as np
import pytest
from app_test import app_on
from measured import machine
from PIL import Image
from tiny import LONG_NAMES, colour_story, coloured_classes

from kd_core.base.config import in_words
from kd_core.data import load, picture
from kd_core.data.catalogue import TransferSetConfig, info_of, probed_classes
from kd_core.data.own import prepare
from kd_core.data.own.library import Preparation
from kd_core.evaluation import accuracy
from kd_core.evaluation import soft as evaluation_soft
from kd_core.exchange import shipped
from kd_core.exchange.export import checks, snippets
from kd_core.experiments import story as experiments_story
from kd_core.experiments.comparison import compare
from kd_core.jobs import execute
from kd_core.runs import progress
from kd_core.runs.store import Store
from pages.compare import figures as compare_figures
from pages.compare import race, sections
from pages.shared.components.chart.chart import as_json
from pages.shared.components.images import images
from pages.shared.figures import classes as figures_classes
from pages.shared.figures import softness
from pages.shared.session import services
from pages.shared.session import story as session_story
from pages.shared.words import literal

NAMES = {2: ("cat", "dog"), 12: LONG_NAMES, 100: tuple(f"<i>kind</i> number {label}" for label in range(100))}


def logits_of(classes, examples=600):
    """Logits that lean to the label, and the labels; the last class of many has no example."""
    generator = np.random.default_rng(classes)
    labels = generator.integers(0, classes - (classes > 2), examples)
    return 3 * np.eye(classes)[labels] + generator.normal(0, 1.5, (examples, classes)), labels


def drawn(figure):
    """A figure as the browser gets it, in which no number may be missing otherwise than as null."""

    def refuse(text):
        raise ValueError(text)

    return json.loads(as_json(figure), parse_constant=refuse)


def test_classes_are_named_up_to_a_dozen_and_counted_beyond():
    assert in_words(["3"]) == "3"
    assert in_words(["3", "4", "9"]) == "3, 4 and 9"
    assert in_words([str(label) for label in range(12)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 11"
    assert in_words([str(label) for label in range(1000)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 989 others"


def test_a_transfer_set_says_its_classes_by_the_shorter_list():
    names = ("ash", "birch", "cedar", "elm")
    assert TransferSetConfig().classes_in_words(names) == "all classes"
    assert TransferSetConfig(only_classes=(0, 1, 2, 3)).classes_in_words(names) == "all classes"
    assert TransferSetConfig(only_classes=(0, 3)).classes_in_words(names) == "classes ash and elm"
    assert TransferSetConfig(only_classes=(0, 1, 3)).classes_in_words(names) == "all classes but cedar"


@pytest.mark.parametrize("classes", [2, 10, 20, 21, 100, 300, 1000])
def test_probes_are_of_every_class_or_evenly_spread_and_never_too_many(classes):
    probed = probed_classes(classes)
    assert list(probed) == sorted(set(probed))
    assert 0 <= probed[0] <= probed[-1] < classes
    assert 2 * len(probed) * classes <= 8000
    assert len(probed) == classes if classes <= 20 else len(probed) >= 4
    gaps = np.diff([*probed, classes + probed[0]])
    assert gaps.max() - gaps.min() <= 1


class OneProbe:
    """A store with one run's probes: 400 epochs of a thousand classes."""

    def probe(self, run_id, image, since):
        return [(epoch, [0.0] * 1000) for epoch in range(400)]


class Watched:
    id, attempt = "one", 1


def test_of_a_thousand_classes_few_epochs_are_told_with_the_last():
    (update,) = progress.probe_updates(OneProbe(), [Watched()], 0, {})
    assert sum(map(len, update["logits"])) <= progress.PROBE_LOGITS
    assert update["epochs"][0] == 0
    assert update["epochs"][-1] == 399


# ------------------------------------------------------------------------------------------------------- figures


@pytest.mark.parametrize("classes", NAMES)
def test_figures_draw_any_number_of_classes_and_stay_readable(classes):
    names = NAMES[classes]
    (first, labels), (second, _) = logits_of(classes), logits_of(classes + 1)
    second = second[:, :classes]
    models = {name: (role, accuracy.per_class_accuracy(logits, labels))
              for name, role, logits in (("a", "#4a7fe0", first), ("b", "#12a37a", second))}  # fmt: skip
    difference = accuracy.confusion_difference(first, second, labels)
    soft, hard = np.random.default_rng(0).normal(0, 1, (2, classes)).tolist()
    made = {
        "classes": figures_classes.per_class(models, names),
        "difference": figures_classes.confusion_difference(difference, names, "a against b"),
        "gradients": softness.gradients(soft, hard, names),
        "features": compare_figures.features(first[:, :2], labels, names, "features"),
    }
    for kind, figure in made.items():
        plain = drawn(figure)
        text = json.dumps(plain)
        assert "<b>" not in text, kind  # plotly would take it for HTML
        assert "<i>" not in text, kind
        if kind in ("classes", "difference", "gradients"):
            assert max(len(trace["x"]) for trace in plain["data"]) <= 20, kind
        labels_shown = plain["layout"]["xaxis"].get("labelalias", {})
        assert all(len(label) <= 40 for label in labels_shown.values()), kind
    assert len(drawn(made["features"])["data"]) <= 20
    points = sum(len(trace["x"]) for trace in drawn(made["features"])["data"])
    assert points == len(labels)


def test_a_gradient_of_many_classes_keeps_its_sum_and_shows_the_largest():
    soft, hard = np.random.default_rng(1).normal(0, 1, (2, 100)).tolist()
    figure = softness.gradients(soft, hard, NAMES[100])
    bars = {trace.name: dict(zip(trace.x, trace.y, strict=True)) for trace in figure.data}
    for name, whole in (("soft loss", soft), ("hard loss", hard)):
        assert sum(bars[name].values()) == pytest.approx(sum(whole))
        assert all(value == whole[int(place)] for place, value in bars[name].items() if place != "others")
    largest = int(np.maximum(np.abs(soft), np.abs(hard)).argmax())
    assert figure.data[0].x[0] == str(largest)
    assert figure.layout.xaxis.labelalias["others"] == "84 others, summed"


def test_of_many_classes_those_with_most_errors_are_drawn_by_numpy():
    logits, labels = logits_of(100, 3000)
    accuracies = accuracy.per_class_accuracy(logits, labels)
    figure = figures_classes.per_class({"a": ("#4a7fe0", accuracies)}, NAMES[100])
    errors = np.nan_to_num(100 * (1 - accuracies))
    assert sorted(figure.data[0].y, reverse=True) == pytest.approx(np.sort(errors)[::-1][:20])


def test_the_classes_that_share_most_and_their_pairs_by_brute_force():
    logits, labels = logits_of(30, 2000)
    mean_soft = evaluation_soft.mean_soft_targets(logits, labels, 3.0)
    known = range(29)  # the last has no example
    pairs = sorted(((mean_soft[i, j], i, j) for i in known for j in range(30) if i != j), reverse=True)
    assert [(i, j) for i, j, _ in evaluation_soft.likest_pairs(mean_soft, 8)] == [(i, j) for _, i, j in pairs[:8]]
    assert len(evaluation_soft.likest_pairs(mean_soft, 10_000)) == 29 * 29
    strength = {k: max(share for share, i, j in pairs if k in (i, j)) for k in known}
    best = sorted(sorted(known, key=lambda k: -strength[k])[:12])
    assert evaluation_soft.most_alike(mean_soft, 12).tolist() == best
    assert evaluation_soft.most_alike(mean_soft, 100).tolist() == list(range(30))


# -------------------------------------------------------------------------------------------------------- images


def as_png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def opened(data_url):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data_url.partition(",")[2]))))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 28, 28), (3, 32, 32), (1, 224, 224), (3, 224, 100)])
def test_images_of_any_size_are_shown_at_about_one_size(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    large = images.picture(image)
    assert 100 < max(large.shape[:2]) <= 224
    scale = large.shape[0] // shape[1]
    assert (large[::scale, ::scale].reshape(*shape[1:], -1) == image.transpose(1, 2, 0)).all()
    assert images.width_of(image) == round(196 * shape[2] / max(shape[1:]))
    small = images.thumbnails(image[None])
    side = min(64, max(shape[1:]))
    assert small.shape == (1, shape[0], side, side)
    if shape[1] == shape[2] <= 64:
        assert (small[0] == image).all()
    sheet = opened(images.strip(np.stack([image] * 3)))
    assert sheet.shape[:2] == (side, 3 * side)


def test_what_is_not_square_keeps_its_proportions_between_black_edges():
    small = images.thumbnails(np.full((1, 3, 200, 100), 90, np.uint8))
    assert (small[0, :, :, 16:48] == 90).all()
    assert not small[0, :, :, :16].any()
    assert not small[0, :, :, 48:].any()


def test_a_race_is_over_as_many_images_as_a_page_can_carry():
    grey, colour = np.zeros((10_000, 1, 28, 28), np.uint8), np.zeros((10_000, 3, 32, 32), np.uint8)
    assert race.stream_length(grey) == 2000
    assert race.stream_length(colour) == 3_000_000 // 3072
    assert race.stream_length(np.zeros((1, 3, 224, 224), np.uint8)) == 1
    packed = np.frombuffer(base64.b64decode(race._packed(np.array([0, 255, 256, 999]))), "<u2")
    assert packed.tolist() == [0, 255, 256, 999]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(90, 60), (60, 90), (33, 32), (8, 8)])
def test_an_upload_becomes_what_the_data_sets_import_would_make_of_it(tmp_path, channels, size):
    generator = np.random.default_rng(2)
    for name in ("a", "b"):
        for number in range(4):
            smooth = Image.fromarray(generator.integers(0, 256, (5, 5, 3), np.uint8)).resize(size, Image.BICUBIC)
            (tmp_path / "in" / name).mkdir(parents=True, exist_ok=True)
            smooth.save(tmp_path / "in" / name / f"{number}.png")
    name = prepare.prepare(tmp_path / "in", Preparation(label="two", side=32, channels=channels), tmp_path / "out")
    prepared = load.load(name, storage=tmp_path / "out")
    known = np.concatenate([prepared.train_images.numpy(), prepared.test_images.numpy()]).astype(int)
    for path in (tmp_path / "in").rglob("*.png"):
        read = picture.read_for(path.read_bytes(), info_of(name).image_shape)
        assert read.shape == (channels, 32, 32)
        assert np.abs(known - read).max(axis=(1, 2, 3)).min() <= 2  # Pillow and torch round differently


def test_what_is_no_picture_is_refused_for_any_data_set():
    with pytest.raises(picture.PictureError, match="no picture that can be read"):
        picture.read_for(b"nothing", (3, 32, 32))
    with pytest.raises(picture.PictureError, match="much longer than wide"):
        picture.read_for(as_png(np.zeros((4, 50, 3), np.uint8)), (3, 32, 32))


def test_the_first_test_images_of_a_users_data_set_are_of_many_classes(tmp_path):
    source = coloured_classes(tmp_path / "in", count=10, size=(8, 8))
    name = prepare.prepare(source, Preparation(label="mixed", side=8), tmp_path / "out")
    labels = load.load(name, storage=tmp_path / "out").test_labels.tolist()
    assert len(set(labels[:12])) > 6


def test_a_class_with_one_test_image_is_probed_with_it_twice(tmp_path):
    source = coloured_classes(tmp_path / "in", count=4, size=(8, 8))
    name = prepare.prepare(source, Preparation(label="few", side=8), tmp_path / "out")
    loaded = load.load(name, storage=tmp_path / "out")
    probes = loaded.probes
    assert probes.shape == (24,)
    assert (probes[::2] == probes[1::2]).all()
    assert loaded.test_labels[probes[::2]].tolist() == list(range(12))


# --------------------------------------------------------------------------------------------------------- pages


@pytest.fixture(scope="module")
def lab_home(tmp_path_factory):
    """A home with a story trained on twelve classes of colour images, and the name of their data set."""
    patch = pytest.MonkeyPatch()
    patch.setattr(shipped, "FOLDER", tmp_path_factory.mktemp("shipped"))
    home = tmp_path_factory.mktemp("colour")
    source = coloured_classes(tmp_path_factory.mktemp("source"))
    dataset = prepare.prepare(source, Preparation(label="Twelve things", side=16), home)
    store = Store(home)
    patch.setenv("KD_HOME", str(home))
    runs = experiments_story.plan(
        colour_story(dataset, transfer_set=TransferSetConfig(only_classes=tuple(range(11))))
    ).to_train
    store.create(runs)
    for run_id in runs:
        execute.run_here(store, run_id, lambda event: None, lambda: None)
    assert {run.status for run in store.runs()} == {"finished"}, [run.message for run in store.runs()]
    store.close()
    yield home, dataset
    services._jobs(home).close()
    services._opened(home).store.close()
    patch.undo()


@pytest.fixture
def open_page(lab_home, monkeypatch, at_this_machine):
    """open_page(page) -> the page as its user finds it, on the colour images."""

    def open_it(page, **query):
        monkeypatch.setenv("KD_HOME", str(lab_home[0]))
        app = app_on(page, **query)
        assert not app.error, [error.value for error in app.error]
        return app

    return open_it


def words(app):
    """All that the page says, in one string."""
    kinds = (app.markdown, app.info, app.error, app.success, app.warning, app.caption, app.button)
    return " ".join(
        str(getattr(element, "value", "")) + str(getattr(element, "label", "")) for kind in kinds for element in kind
    )


@pytest.mark.parametrize("page", ["temperature", "runs", "compare", "export", "train"])
def test_no_page_speaks_of_digits_on_other_data(open_page, page):
    text = words(open_page(page, **({"view": "Watch"} if page == "train" else {})))
    assert not re.search(r"\bdigits?\b|MNIST's", text)


def test_the_lesson_follows_a_class_of_the_data_and_asks_of_their_names(open_page):
    names = [literal(name) for name in sorted(LONG_NAMES)]
    app = open_page("lesson", lesson="targets")
    (question,) = app.radio
    assert set(question.options) < set(names)
    assert any(f"most like **{name}**?" in question.label for name in names)
    for step in ("loss", "feel", "end"):
        app = open_page("lesson", lesson=step)
        assert not re.search(r"\b(2|7), and a little", words(app))


def test_the_temperature_page_names_classes_and_offers_no_canvas(open_page, lab_home):
    app = open_page("temperature", image="test-5")
    names = sorted(LONG_NAMES)
    for run in services._opened(lab_home[0]).store.runs():
        assert f"{run.config.role} says **{literal(names[services.test_logits(run.id)[5].argmax()])}**" in words(app)
    assert list(app.segmented_control(key="image_source").options) == ["Test images", "Upload"]
    assert list(app.selectbox(key="gallery_class").options) == ["any", *names]
    app.selectbox(key="gallery_class").set_value(names[4]).run()
    assert not app.exception


def test_a_class_without_an_image_in_the_transfer_set_is_named(open_page, lab_home):
    story = colour_story(lab_home[1], transfer_set=TransferSetConfig(only_classes=tuple(range(11))))
    app = open_page("train", view="Set up", setup=session_story.to_address(story))
    names = sorted(LONG_NAMES)
    assert f"Never saw {names[3]}" in words(app)
    assert f"The transfer set has no {names[11]}: most errors will be there." in words(app)
    assert list(app.multiselect(key="form_classes").options) == names


def test_the_form_of_a_hundred_classes_lists_those_it_leaves_out(open_page):
    dataset = "own.kinds.0123456789ab.100.3x8x8.90000.1000"
    story = colour_story(dataset, transfer_set=TransferSetConfig(only_classes=tuple(range(98))))
    app = open_page("train", view="Set up", setup=session_story.to_address(story))
    assert app.multiselect(key="form_left_out").value == [98, 99]
    app.multiselect(key="form_left_out").set_value([99]).run()
    assert app.session_state["setup"].transfer_set.only_classes == tuple(range(99))
    app.multiselect(key="form_left_out").set_value([]).run()
    assert app.session_state["setup"].transfer_set.only_classes is None
    assert app.session_state["setup"].dataset == dataset


@pytest.mark.parametrize("part", ["Classes", "Mistakes", "Disagreements", "The race"])
def test_each_closer_look_opens_on_colour_images(open_page, lab_home, part, monkeypatch):
    ids = [run.id for run in services._opened(lab_home[0]).store.runs()]
    times = {run_id: 1.5**place for place, run_id in enumerate(ids)}
    known = {"speed": machine(times)}  # in place of what a worker may be measuring meanwhile
    monkeypatch.setattr(Store, "finding", lambda store, kind, run_ids: known.get(kind))
    app = open_page("compare", closer=part)
    assert app.segmented_control(key="closer").value == part
    assert len(app.get("bidi_component")) >= 3  # every page has two of them


def test_a_comparison_names_its_classes(lab_home, monkeypatch):
    monkeypatch.setenv("KD_HOME", str(lab_home[0]))
    runs = services._opened(lab_home[0]).store.runs()
    compared = sections.Compared(compare(runs), {})
    assert compared.class_names == tuple(sorted(LONG_NAMES))


def test_without_their_data_set_models_still_name_their_classes(lab_home, monkeypatch):
    monkeypatch.setenv("KD_HOME", str(lab_home[0]))
    monkeypatch.setattr(services.data_paths, "available", lambda dataset: False)
    run = services._opened(lab_home[0]).store.runs()[0]
    assert services.class_names_of(run) == tuple(sorted(LONG_NAMES))
    assert services.class_names(lab_home[1]) == tuple(map(str, range(12)))


def test_a_snippet_cuts_the_middle_out_and_names_the_classes():
    images = snippets.Images((3, 16, 16), LONG_NAMES, 0.5, 0.25, digits=False)
    program = snippets.python_snippet(checks.ONNX, "model.onnx", images)
    compile(program, "classify.py", "exec")
    assert repr(list(LONG_NAMES)) in program
    assert "return middle(whole, (3, 16, 16))" in program
