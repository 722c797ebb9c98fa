"""The image under study: a test image, a drawing or an upload. It lives in the address: a link shows it again."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from kd_core import drawing, places
from kd_core.drawing import PictureError
from kd_core.evaluation import GALLERIES, gallery, predictions
from kd_core.runs import Run
from pages.widgets import lab
from pages.widgets.canvas import canvas
from pages.widgets.images import image_grid, picture
from pages.widgets.words import literal

IMAGE = "image"
TEST, DRAWN = "test-", "drawn-"
TILES = 24
SOURCES = {"test": "Test images", "draw": "Draw", "upload": "Upload"}


class Subject(NamedTuple):
    """image: (1, H, W) uint8. label: the true class, None where nobody knows. logits: run id -> (K,)."""

    image: NDArray[np.uint8]
    label: int | None
    caption: str
    logits: dict[str, NDArray[np.float32]]


def choose_subject(models: Sequence[Run]) -> Subject | None:
    """Let the user pick, draw or upload an image for these models, the teacher first; None while there is none."""
    dataset = models[0].config.dataset
    named = st.query_params.get(IMAGE, "")
    sources = [source for source in SOURCES if source != "test" or places.available(dataset)]
    preferred = "draw" if named.startswith(DRAWN) and sources else sources[0]
    source = st.segmented_control(
        "Image",
        sources,
        default=preferred,
        required=True,
        format_func=lambda name: SOURCES[name],
        key="image_source",
        label_visibility="collapsed",
    )
    if source == "test":
        return _test_image(models, dataset, named)
    try:
        image = _drawn(named) if source == "draw" else _uploaded(named)
    except PictureError as error:
        st.warning(literal(str(error)), icon=":material/draw:")
        return None
    if image is None:
        return None
    st.query_params[IMAGE] = DRAWN + drawing.to_address(image)
    logits = {run.id: lab.trained(run.id)(image[None, None])[0] for run in models}
    return Subject(image[None], None, "as the models see it: 28x28 pixels, centred as MNIST's are", logits)


def _test_image(models: Sequence[Run], dataset: str, named: str) -> Subject | None:
    images, labels = lab.test_set(dataset)
    logits = {run.id: lab.test_logits(run.id) for run in models}
    student = models[-1] if len(models) > 1 else None
    kind = st.selectbox("Show", GALLERIES, index=1, key="gallery_kind", bind="query-params")
    wanted = st.selectbox("True class", ["any", *range(10)], key="gallery_class", bind="query-params")
    found = gallery(
        kind, labels, logits[models[0].id], logits[student.id] if student else None, None if wanted == "any" else wanted
    )
    if len(found) == 0:
        st.info("No test image is of this kind. Choose another.", icon=":material/search_off:")
        return None
    pages = -(-len(found) // TILES)
    page = 1
    if pages > 1:
        page = int(st.number_input(f"Page of {pages:,}", 1, pages, key=f"gallery_page_{kind}_{wanted}"))
    shown = found[TILES * (page - 1) : TILES * page]
    index = _index(named, len(labels))
    if index is None:
        index = int(found[0])
    picked = image_grid(
        images[shown],
        [int(one) for one in shown],
        [f"test image {one}, a {labels[one]}" for one in shown],
        selected=index,
        key="gallery",
    )
    if picked is not None and 0 <= picked < len(labels):
        index = picked
    st.query_params[IMAGE] = f"{TEST}{index}"
    return Subject(
        images[index],
        int(labels[index]),
        f"test image {index}, a {labels[index]}",
        {run_id: rows[index] for run_id, rows in logits.items()},
    )


def _index(named: str, size: int) -> int | None:
    digits = named.removeprefix(TEST)
    if named.startswith(TEST) and digits.isascii() and digits.isdigit() and len(digits) < 9 and int(digits) < size:
        return int(digits)
    return None


def _drawn(named: str) -> NDArray[np.uint8]:
    data_url = canvas(key="canvas")
    if data_url:
        return drawing.read_canvas(data_url)
    if data_url is None and named.startswith(DRAWN):
        return drawing.from_address(named.removeprefix(DRAWN))
    st.query_params.pop(IMAGE, None)
    raise PictureError("There is nothing on it yet: draw a digit.")


def _uploaded(named: str) -> NDArray[np.uint8] | None:
    uploaded = st.file_uploader(
        "A picture of one digit, dark on light or light on dark",
        type=["png", "jpg", "jpeg", "webp", "gif", "bmp"],
        max_upload_size=20,
    )
    if uploaded is None:
        st.info("Take a photo of a digit on paper, or upload any picture of one.", icon=":material/upload:")
        return None
    return drawing.read_picture(uploaded.getvalue())


def show_subject(subject: Subject, models: Sequence[Run]) -> None:
    """The image itself, and what each model takes it for."""
    st.image(picture(subject.image), width=196, caption=subject.caption)
    for run in models:
        top = int(predictions(subject.logits[run.id][None])[0])
        mark = "" if subject.label is None else ":material/check: " if top == subject.label else ":material/close: "
        st.markdown(f"{mark}{run.config.role} says **{top}**")
