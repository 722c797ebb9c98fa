"""The image under study: a test image, a drawing or an upload. It lives in the address: a link shows it again."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from kd_core.base.config import ConfigError
from kd_core.base.templates import Said, said
from kd_core.data import paths
from kd_core.data import picture as data_picture
from kd_core.data.catalogue import HANDWRITTEN, info_of
from kd_core.data.picture import PictureError
from kd_core.data.pictures.decode import is_flat
from kd_core.evaluation.accuracy import predictions
from kd_core.evaluation.soft import GALLERIES, gallery
from kd_core.experiments import story
from kd_core.runs.run import Run
from pages.shared.components.canvas.canvas import canvas
from pages.shared.components.images.images import caption_of, show, test_image_grid, width_of
from pages.shared.language import _, of_error
from pages.shared.parts.missing import say_own_code
from pages.shared.parts.naming import shades
from pages.shared.session import services
from pages.shared.session.address import DRAWN, IMAGE, TEST, chosen, index_of_address, selected
from pages.shared.words import in_language, literal
from pages.temperature.crop import crop

SEEN, TILES = said("What the models see"), 24
STUDIED = 144
"""Pixels of the longer side of the image beside its bars."""
SOURCES = {"test": said("Test images"), "draw": said("Draw"), "upload": said("Upload")}
ANY = said("any")


class Subject(NamedTuple):
    """image: (C, H, W) uint8. label: the true class, None where nobody knows. logits: run id -> (K,)."""

    image: NDArray[np.uint8]
    label: int | None
    caption: str
    logits: dict[str, NDArray[np.float32]]


def choose_subject(models: Sequence[Run], class_names: Sequence[str]) -> Subject | None:
    """Let the user pick, draw or upload an image for these models, the teacher first; None while there is none.

    Only a digit can be drawn so that it looks like the images of its data set.
    """
    dataset = models[0].config.dataset
    named = st.query_params.get(IMAGE, "")
    possible = {"test": paths.available(dataset), "draw": dataset in HANDWRITTEN, "upload": True}
    sources = [source for source in SOURCES if possible[source]]
    preferred = "draw" if named.startswith(DRAWN) and possible["draw"] else sources[0]
    source = chosen(
        st.segmented_control,
        _("Image"),
        sources,
        name="source",
        key="image_source",
        default=preferred,
        required=True,
        format_func=lambda source: _(SOURCES[source]),
        label_visibility="collapsed",
    )
    if source == "test":
        return _test_image(models, dataset, named, class_names)
    try:
        image = _drawn(named) if source == "draw" else _uploaded(dataset)
    except PictureError as error:
        st.warning(literal(of_error(error)), icon=":material/draw:")
        return None
    if image is None:
        return None
    if possible["draw"]:
        st.query_params[IMAGE] = DRAWN + data_picture.to_address(image[0])
    else:  # no address is long enough for a photo
        st.query_params.pop(IMAGE, None)
    try:
        logits = {run.id: services.trained(run.id)(image[None])[0] for run in models}
    except ConfigError as error:  # a network of own code that is not here
        st.warning(literal(of_error(error)), icon=":material/code:")
        return None
    say_own_code(models)
    return Subject(image, None, _("as the models see it: {picture}", picture=_prepared(dataset)), logits)


def _prepared(dataset: str) -> Said:
    """Say how a picture is changed before the models of a data set see it."""
    if dataset in HANDWRITTEN:
        return said("28x28 pixels, centred as MNIST's are")
    channels, height, width = info_of(dataset).image_shape
    if channels == 1:
        return said("its middle, grey, {width}x{height} pixels", width=width, height=height)
    return said("its middle, {width}x{height} pixels", width=width, height=height)


def _test_image(models: Sequence[Run], dataset: str, named: str, class_names: Sequence[str]) -> Subject | None:
    images, labels = services.test_set(dataset)
    logits = {run.id: services.test_logits(run.id) for run in models}
    student = models[-1] if len(models) > 1 else None
    tiles, filters = st.container(), st.expander(_("Which images"))
    with filters:
        kinds = {each: _(each) for each in GALLERIES}
        kind = selected(_("Show"), kinds, name="gallery_kind", key="gallery_kind", default=GALLERIES[1])
        classes = {ANY: _(ANY)} | {name: name for name in class_names}
        wanted = selected(_("True class"), classes, name="gallery_class", key="gallery_class")
    label = None if wanted == ANY else class_names.index(wanted)
    gallery_images = gallery(kind, labels, logits[models[0].id], logits[student.id] if student else None, label)
    if len(gallery_images) == 0:
        st.info(_("No test image is of this kind. Choose another."), icon=":material/search_off:")
        return None
    pages = -(-len(gallery_images) // TILES)
    page = 1
    if pages > 1:
        key = f"gallery_page_{kind}_{wanted}"
        page = int(filters.number_input(_("Page of {pages:,}", pages=pages), 1, pages, key=key, bind="query-params"))
    shown = gallery_images[TILES * (page - 1) : TILES * page]
    index = index_of_address(named, len(labels))
    if index is None:
        index = int(gallery_images[0])
    with tiles:
        picked = test_image_grid((images, labels), class_names, shown, selected=index, key="gallery")
    if picked is not None and 0 <= picked < len(labels):
        index = picked
    st.query_params[IMAGE] = f"{TEST}{index}"
    return Subject(
        images[index],
        int(labels[index]),
        caption_of(index, class_names[labels[index]]),
        {run_id: rows[index] for run_id, rows in logits.items()},
    )


def _drawn(named: str) -> NDArray[np.uint8]:
    data_url = canvas(key="canvas")
    if data_url:
        return data_picture.read_canvas(data_url)[None]
    if data_url is None and named.startswith(DRAWN):
        return data_picture.from_address(named.removeprefix(DRAWN))[None]
    st.query_params.pop(IMAGE, None)
    raise PictureError(said("There is nothing on it yet: draw a digit."))


def _uploaded(dataset: str) -> NDArray[np.uint8] | None:
    digit = dataset in HANDWRITTEN
    title = (
        _("A picture of one digit, dark on light or light on dark") if digit else _("A picture of one of the classes")
    )
    uploaded = st.file_uploader(title, type=["png", "jpg", "jpeg", "webp", "gif", "bmp"], max_upload_size=20)
    if uploaded is None:
        hint = _("Take a photo of a digit on paper, or upload any picture of one.")
        other = _("Upload a picture. The models will see {picture}.", picture=_prepared(dataset))
        st.info(hint if digit else other, icon=":material/upload:")
        return None
    content = uploaded.getvalue()
    left, right = st.columns([3, 2])
    with left:
        box = crop(data_picture.read_rgb(content), key=f"crop_{uploaded.file_id}")
    image = (
        data_picture.read_picture(content, box)[None]
        if digit
        else data_picture.read_for(content, info_of(dataset).image_shape, box)
    )
    with right:
        show(image, text=_(SEEN), caption=_(SEEN))
    st.caption(
        _("Drag a box around the digit where the models see something else.") if digit else _("Drag a box to cut.")
    )
    if is_flat(image):
        st.warning(_("Of this picture the models see almost one colour."), icon=":material/info:")
    return image


def show_subject(subject: Subject, models: Sequence[Run], class_names: Sequence[str]) -> None:
    """Show the image, and the top class of each model."""
    names, colours = story.names(models), shades(models)
    with st.container(key="subject"):
        show(subject.image, text=subject.caption, caption=subject.caption, width=width_of(subject.image, STUDIED))
        verdicts = []
        for run in models:
            top = int(predictions(subject.logits[run.id][None])[0])
            mark = "" if subject.label is None else ":material/check:" if top == subject.label else ":material/close:"
            square = f'<i class="kd-square" style="background: {colours[run.id]}"></i>'
            verdict = _(
                "{name} says **{top}**", name=literal(in_language(names[run.id])), top=literal(class_names[top])
            )
            verdicts.append(f"{square} {verdict} {mark}".rstrip())
        st.markdown("  \n".join(verdicts), unsafe_allow_html=True)
