"""The page on which data sets are looked at and brought in, as Streamlit runs it."""

import pytest
from app_test import app_on
from tiny import tiny_config, train_here

from kd_core.base import paths as base_paths
from kd_core.data import load
from kd_core.data import paths as data_paths
from kd_core.data.own import library, prepare
from kd_core.data.own.library import Preparation
from kd_core.exchange import shipped
from kd_core.models.config import ModelConfig
from kd_core.runs.store import Store
from kd_core.training.config import RunConfig
from pages.data import look
from pages.shared.access import rights
from pages.shared.session import services
from pages.shared.session import story as session_story
from tests.unit.data.test_own_data import CLASSES, files, zipped

SHIPPED = shipped.FOLDER


@pytest.fixture
def open_page(home, at_this_machine):
    """open_page() -> the page as its user finds it, in a home of its own."""

    def open_it(page="data", **query):
        return app_on(page, **query)

    yield open_it
    services._jobs(home).close()
    services._opened(home).store.close()


@pytest.fixture
def trees(home, tmp_path):
    """A user's data set of colours, in place."""
    return prepare.prepare(
        zipped(tmp_path / "trees.zip", files()), Preparation(label="trees", side=16), base_paths.storage()
    )


def words(app):
    return "\n".join(str(part.value) for part in [*app.markdown, *app.caption, *app.warning, *app.error, *app.info])


def test_a_users_data_set_is_shown_with_its_classes_numbers_and_how_it_was_made(open_page, trees):
    app = open_page(data=trees)
    assert app.selectbox(key="data_set").value == trees
    text = words(app)
    assert all(f"**{name}**" in text for name in CLASSES)
    assert "Images to train on: **24**" in text
    assert "Size: **16 x 16 pixels, colour**" in text
    assert "Made of: **trees.zip**" in text
    assert "20% of each class by seed 0" in text


def test_copies_are_said_on_the_data_page_and_beside_a_comparison(open_page, home, tmp_path):
    content = {**files(6, "train/"), **files(4, "test/")}
    source = zipped(tmp_path / "leak.zip", content)
    leaky = prepare.prepare(source, Preparation(label="leak", side=16), base_paths.storage())
    sentence = "12 of 12 test images are also training images"
    assert sentence in words(open_page(data=leaky))
    store = Store(home)
    teacher = store.get(train_here(store, tiny_config(epochs=1).replace(dataset=leaky)))
    store.close()
    assert sentence in words(open_page("compare", batch=teacher.batch))


def test_training_on_it_starts_from_a_story_of_its_own(open_page, trees):
    app = open_page(data=trees)
    app.button(key="train_on_it").click().run()
    assert not app.exception
    story = app.session_state[session_story.SETUP]
    assert (story.dataset, story.student.name) == (trees, "cnn")
    assert app.selectbox(key="form_dataset").value == trees


def test_a_data_set_that_is_not_here_says_how_it_gets_here(open_page, monkeypatch, tmp_path, trees):
    monkeypatch.setenv("KD_DATA_DIR", str(tmp_path / "nothing"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nothing"))
    app = open_page(data="cifar10")
    assert "CIFAR-10 is not on this machine yet" in words(app)
    assert app.button(key="fetch").label == "Download it now"
    library.remove(base_paths.storage(), trees)
    assert open_page(data=trees).selectbox(key="data_set").value == "digits"


@pytest.fixture
def without_mnist(home, monkeypatch, tmp_path):
    """A machine that has the shipped models and neither MNIST nor a way to download it within a page."""
    monkeypatch.setattr(shipped, "FOLDER", SHIPPED)
    monkeypatch.setenv("KD_DATA_DIR", str(tmp_path / "nothing"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nothing"))
    monkeypatch.setattr(load, "download", lambda *arguments: pytest.fail(f"the page downloads {arguments}"))


@pytest.mark.usefixtures("without_mnist")
@pytest.mark.parametrize("page", ["overview", "temperature", "data", "train", "runs", "compare", "export", "paper"])
def test_no_page_downloads_what_it_would_show(open_page, page):
    app = open_page(page, batch=f"{shipped.TAG}mnist")
    assert not app.error, [error.value for error in app.error]


@pytest.mark.usefixtures("without_mnist")
@pytest.mark.parametrize("page", ["compare", "export"])
def test_models_without_their_test_set_say_what_it_is_needed_for_and_offer_it(open_page, page, monkeypatch):
    app = open_page(page, batch=f"{shipped.TAG}mnist")
    assert "MNIST is not on this machine yet" in words(app)
    assert app.button(key="fetch").label == "Download it now"
    if page == "compare":
        assert "The distilled student makes" in words(app)
    monkeypatch.setattr(rights, "presenter", lambda: False)
    guest = open_page(page, batch=f"{shipped.TAG}mnist")
    assert "MNIST is not on this machine yet" in words(guest)
    assert "fetch" not in [button.key for button in guest.button]


def test_runs_whose_own_data_set_was_deleted_say_where_it_comes_from(open_page, home, trees):
    store = Store(home)
    teacher = store.get(train_here(store, tiny_config(epochs=1).replace(dataset=trees)))
    store.close()
    library.remove(base_paths.storage(), trees)
    app = open_page("compare", batch=teacher.batch)
    assert "trees is not on this machine: bring it in on the Data page" in words(app)
    assert not app.error
    assert "errors on the test set" in words(app)


def test_only_the_presenter_adds_and_deletes_and_not_what_a_run_learns_from(open_page, trees, monkeypatch, home):
    app = open_page(data=trees)
    assert "Bring your own" in [title.value for title in app.header]
    store = Store(home)
    store.create({"b" * 12: RunConfig(role="teacher", dataset=trees, model=ModelConfig(name="cnn"))})
    app.button(key="remove_data").click().run()
    assert any("1 runs wait for this data set or learn from it" in error.value for error in app.error)
    store.apply("b" * 12, {"kind": "failed", "text": "for this test"})
    app.button(key="remove_data").click().run()
    assert library.names(base_paths.storage()) == []
    store.close()
    monkeypatch.setattr(rights, "presenter", lambda: False)
    guest = open_page()
    assert "Bring your own" not in [title.value for title in guest.header]
    assert "Only the presenter may bring in data here." in words(guest)


def test_a_damaged_data_set_can_be_deleted_where_its_sentence_says(open_page, trees):
    images = data_paths.own_folder(base_paths.storage(), trees) / "train_images.npy"
    images.write_bytes(images.read_bytes()[:-1] + b"\0")
    library.read.cache_clear()
    services.samples.clear()
    services.class_counts.clear()
    app = open_page(data=trees)
    assert any("is damaged: delete it on the Data page" in error.value for error in app.error)
    app.button(key="remove_data").click().run()
    assert library.names(base_paths.storage()) == []


def test_many_classes_are_shown_in_part(open_page, home, tmp_path, monkeypatch):
    monkeypatch.setattr(look, "CLASSES_SHOWN", 2)
    name = prepare.prepare(zipped(tmp_path / "t.zip", files()), Preparation(label="t", side=8), base_paths.storage())
    assert "The first 2 of 3 classes." in words(open_page(data=name))
