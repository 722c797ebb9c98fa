"""A data set to look at: images of each class, how many there are, and how they were made ready."""

import numpy as np
import streamlit as st

from kd_core.base import paths as base_paths
from kd_core.base.config import LabError
from kd_core.data import paths as data_paths
from kd_core.data.catalogue import info_of, is_own
from kd_core.data.own import library
from kd_core.experiments.story import StoryConfig
from pages.shared.access import rights
from pages.shared.components.chart.chart import chart
from pages.shared.components.images.images import show
from pages.shared.figures import classes
from pages.shared.language import _, of_error
from pages.shared.parts.missing import say_missing
from pages.shared.session import keys, services
from pages.shared.session.address import selected
from pages.shared.session.story import set_story
from pages.shared.words import literal, refusals, with_article

DATA = "data"
CLASSES_SHOWN, IMAGES_OF_A_CLASS = 20, 8


def pick_data_set() -> str:
    """Let the user choose among all data sets; the address remembers which."""
    called = services.data_sets()
    opens = next(filter(data_paths.available, called))
    return selected(_("Data set"), called, name=DATA, key="data_set", default=opens)


def choose(dataset: str) -> None:
    """Look at this one from the next run on."""
    st.query_params[DATA] = dataset


def preview(dataset: str) -> bool:
    """Show some training images of each class, a row a class; return whether the data set is here."""
    if not data_paths.available(dataset):
        say_missing(dataset, _("It is downloaded when a run first needs it."))
        return False
    try:
        names, rows = services.samples(dataset, IMAGES_OF_A_CLASS)
    except LabError as error:
        st.error(literal(of_error(error)), icon=":material/error:")
        return False
    shown = rows[:CLASSES_SHOWN]
    for start in range(0, len(shown), 2):
        for column, at in zip(st.columns(2, gap="medium"), range(start, min(start + 2, len(shown))), strict=False):
            with column:
                st.markdown(f":small[**{literal(names[at])}**]")
                text = _("Training images of {image}", image=with_article(names[at]))
                show(np.concatenate(list(shown[at]), axis=2), text=text)
    if len(rows) > CLASSES_SHOWN:
        st.caption(_("The first {shown} of {count:,} classes.", shown=CLASSES_SHOWN, count=len(rows)))
    return True


def balance_and_numbers(dataset: str, is_here: bool) -> None:
    """Show how many images each class has, and the facts on one line each."""
    info = info_of(dataset)
    channels, height, width = info.image_shape
    facts = {
        _("Images to train on"): f"{info.train_examples:,}",
        _("Images to test on"): f"{info.test_examples:,}",
        _("Classes"): f"{info.classes:,}",
        _("Size"): _("{width} x {height} pixels, grey", width=width, height=height)
        if channels == 1
        else _("{width} x {height} pixels, colour", width=width, height=height),
    }
    if is_here:
        names, train, test = services.class_counts(dataset)
        chart(
            classes.class_balance(names, train, test),
            key="class_balance",
            text=_(
                "Images of each class: {counts}",
                counts=", ".join(f"{name} {count:,}" for name, count in zip(names, train, strict=True)),
            ),
        )
        ratio = library.balance(train)
        facts[_("Largest class to smallest")] = _("{ratio:.2f} to 1", ratio=ratio)
    if is_here and is_own(dataset):
        made = library.card(base_paths.storage(), dataset)
        settings = made.preparation
        facts |= {
            _("Made of"): made.source,
            _("How"): _("cropped to the middle square, scaled to {side} x {side}", side=settings.side),
            _("Test set"): _("the source's own")
            if made.own_test_set
            else _("{share:.0%} of each class by seed {seed}", share=settings.test_fraction, seed=settings.seed),
            _("Content"): _("{checksum} (changes with any image or setting)", checksum=dataset.split(".")[2]),
        }
    st.markdown("\n".join(f"- {name}: **{literal(value)}**" for name, value in facts.items()))
    if is_here and is_own(dataset):
        for sentence in made.notices:
            st.info(literal(_(sentence)))
        for sentence in services.doubts(dataset):
            st.warning(literal(_(sentence)), icon=":material/content_copy:")
    if is_here and st.button(_("Train on it"), key="train_on_it", icon=":material/model_training:"):
        set_story(StoryConfig.default(dataset))
        st.session_state[keys.VIEW] = keys.SET_UP
        st.switch_page("pages/train/page.py")


def remove_button(dataset: str) -> None:
    """Offer to delete a data set that was brought in; ask twice."""
    if not is_own(dataset) or not rights.presenter():
        return
    with st.popover(_("Delete this data set"), icon=":material/delete:"):
        st.markdown(
            _("Its runs stay, but their images can no longer be shown. Bring the same images in again to undo it.")
        )
        if st.button(_("Delete it"), key="remove_data", type="primary"):
            with refusals():
                rights.remove_data(dataset)
                st.query_params.pop(DATA, None)
                st.session_state.pop("data_set", None)
                st.rerun()
