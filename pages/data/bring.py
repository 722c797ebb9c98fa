"""Bring in your own data set: upload a zip of class folders, see what is in it, say how to make it ready, and do so."""

from pathlib import Path

import pandas as pd
import streamlit as st

from kd_core.base.config import LabError
from kd_core.base.templates import said
from kd_core.data.catalogue import SIDES
from kd_core.data.own.library import Naming, Preparation
from kd_core.data.own.look import Look
from kd_core.data.own.names import PAGES
from kd_core.data.pictures.decode import WHITES
from pages.data import look
from pages.shared.access import rights
from pages.shared.language import _, of_error
from pages.shared.parts.missing import follow
from pages.shared.session import services
from pages.shared.words import cell, literal, refusals

LOOKING, PREPARING, SOURCE, TAKEN = "looking", "preparing", "data_source", "data_taken"
MAX_MB = 200
COLOUR, GREY = said("Colour"), said("Grey")


def bring_your_own() -> None:
    """Take an upload all the way to a data set. How far it is stands in the session."""
    st.header(_("Bring your own"), anchor=False)
    message = st.session_state.pop("data_said", None)
    if message:
        (st.success if message[0] else st.error)(literal(_(message[1])), icon=None)
    st.markdown(
        _(
            "A **zip** with one folder a class, the images of the class in it (PNG, JPEG, WebP and others). Folders"
            " called `train` and `test` (or `val`) above them are kept apart. Larger than {megabytes} MB:"
            " `python -m kd_core data add FOLDER` in a shell, which takes folders and zips of any size.",
            megabytes=MAX_MB,
        )
    )
    uploaded = st.file_uploader(
        _("A zip of class folders"), type=["zip"], max_upload_size=MAX_MB, key=f"data_upload_{_round()}"
    )
    if uploaded is not None and st.session_state.get(TAKEN) != uploaded.file_id:
        _drop()
        st.session_state[TAKEN] = uploaded.file_id
        try:
            path = rights.keep_upload(uploaded.name, uploaded.getbuffer())
            st.session_state[SOURCE] = str(path)
            st.session_state[LOOKING] = services.intake().look(path, services.browser())
        except LabError as error:
            _end(False, of_error(error))
    if uploaded is None and SOURCE in st.session_state and PREPARING not in st.session_state:
        _drop()
    work = services.intake().work(st.session_state.get(LOOKING))
    if work is None:
        return
    if not follow(work, LOOKING):
        return
    if work.error is not None or work.result is None:
        _end(False, work.error or said("Nothing was found in it."))
        return
    seen = Look(**work.result)
    path = Path(st.session_state[SOURCE])
    _what_is_in_it(seen)
    preparing = services.intake().work(st.session_state.get(PREPARING))
    if preparing is None:
        _settings(seen, path, _naming(seen, path))
    elif follow(preparing, PREPARING):
        if preparing.error is not None or preparing.result is None:
            del st.session_state[PREPARING]
            st.session_state["data_said"] = False, preparing.error or said("It could not be prepared.")
            st.rerun()
        look.choose(preparing.result["name"])
        _end(True, said("Your data set is ready: it is shown above, and can be chosen on the Train page."))


def _round() -> int:
    """Count the uploads: a new number empties the uploader."""
    number: int = st.session_state.setdefault("data_round", 0)
    return number


def _drop() -> None:
    """Forget what was uploaded before, end what is at work on it, and remove it from the disk."""
    for key in (LOOKING, PREPARING):
        work_id = st.session_state.pop(key, None)
        if services.intake().work(work_id) is not None:
            services.intake().stop(work_id)
    st.session_state.pop(TAKEN, None)
    if SOURCE in st.session_state:
        services.intake().discard(Path(st.session_state.pop(SOURCE)))


def _end(well: bool, sentence: str) -> None:
    _drop()
    st.session_state["data_round"] = _round() + 1
    st.session_state["data_said"] = well, sentence
    st.rerun()


def _what_is_in_it(seen: Look) -> None:
    train, test = seen.train, seen.test
    total = sum(train.values()) + sum(test.values())
    least, most = (" x ".join(map(str, size)) for size in (seen.smallest, seen.largest))
    kind = _("colour") if seen.colour else _("grey")
    what = _(
        "**{images:,} images of {classes:,} classes**, {kind}, from {least} to {most} pixels.",
        images=total, classes=len(train), kind=kind, least=least, most=most,
    )  # fmt: skip
    own = _("Its own test set is kept.") if test else _("No test set of its own: one is drawn by seed.")
    st.markdown(f"{what} {own}")
    for sentence in seen.notices():
        st.info(literal(_(sentence)))
    for sentence in seen.doubts():
        st.warning(literal(_(sentence)), icon=":material/content_copy:")


def _naming(seen: Look, path: Path) -> Naming:
    """Show what the classes are called, and let the user choose the code page of the names and rename classes."""
    if any(seen.code_pages.values()):
        page = st.selectbox(
            _("Code page of the names"),
            [*seen.code_pages],
            index=[*seen.code_pages].index(seen.code_page),
            format_func=lambda page: f"{', '.join(seen.code_pages[page])} ({_(PAGES[page])}, {page})",
            help=_("This zip does not say how its names are written. Choose the line that reads right."),
        )
        if page != seen.code_page:
            st.session_state[LOOKING] = services.intake().look(path, services.browser(), Naming(code_page=page))
            st.rerun()
    merge = bool(seen.alike) and st.toggle(_("Merge classes whose names differ by case alone"), key="data_merge")
    folders = [*seen.folders]
    rows = pd.DataFrame(
        {
            "folder": [cell(folder) for folder in folders],
            "class": [seen.folders[folder][0] for folder in folders],
            "images": [seen.folders[folder][1] for folder in folders],
        }
    )
    edited = st.data_editor(
        rows, hide_index=True, disabled=["folder", "images"], key=f"data_names_{seen.code_page}",
        height=min(36 * (len(rows) + 1) + 3, 260), width="stretch",
        column_config={"folder": _("folder"), "class": _("class"), "images": _("images")},
    )  # fmt: skip
    st.caption(_("Edit a class to rename it. Folders of one class are merged."))
    called = zip(folders, rows["class"], edited["class"], strict=True)
    rename = {folder: str(after or before) for folder, before, after in called if after != before}
    return Naming(code_page=seen.code_page, merge=merge, rename=rename)


def _settings(seen: Look, path: Path, naming: Naming) -> None:
    """Ask how to prepare the images, and start it."""
    with st.form("data_settings", border=True):
        label = st.text_input(_("What to call it"), path.stem[:40], max_chars=40, key="data_label")
        left, middle, right = st.columns(3)
        side = left.number_input(
            _("Height and width, pixels"), *SIDES, seen.side, key="data_side",
            help=_("Each image is cropped to its middle square and scaled. Small is fast: 28 to 64 suit two cores."),
        )  # fmt: skip
        kind = middle.segmented_control(
            _("Channels"),
            [COLOUR, GREY],
            format_func=_,
            default=COLOUR if seen.colour else GREY,
            required=True,
            key="data_kind",
        )
        share = right.number_input(
            _("Test set, % of each class"), 2, 50, 20, key="data_share", disabled=bool(seen.test)
        )
        with st.expander(_("Seed of the split, unreadable files and copies")):
            left, middle, right = st.columns(3, vertical_alignment="bottom")
            seed = left.number_input(_("Seed of the split"), 0, 2**31 - 1, 0, key="data_seed", disabled=bool(seen.test))
            skip = middle.toggle(
                _("Leave out unreadable files"), key="data_skip", help=_("Otherwise one refuses the whole.")
            )
            drop = right.toggle(
                _("Leave out copies"), key="data_drop",
                help=_("Keep one of equal images, and none that lies under several classes. Test images stay."),
            )  # fmt: skip
        with st.expander(_("Keep groups together, such as all photographs of one person")):
            prefix = st.text_input(
                _("File names are equal up to"),
                key="data_prefix",
                max_chars=20,
                placeholder=_("such as _ for anna_03.png"),
            )
            table = st.file_uploader(_("Or a CSV of file names and their groups"), type=["csv"], max_upload_size=10)
        white = None
        if seen.white:
            whites = [*dict.fromkeys((seen.white, *WHITES))]
            white = st.selectbox(_("White, in files of more than eight bits"), whites, key="data_white")
        if not st.form_submit_button(_("Make it a data set"), type="primary", icon=":material/construction:"):
            return
    with refusals():
        preparation = Preparation(
            **naming.model_dump(), label=label, side=int(side), channels=1 if kind == GREY else 3,
            test_fraction=share / 100, seed=int(seed), skip_unreadable=skip,
            drop_copies=drop, group_prefix=prefix, white=white if white != seen.white else None,
        )  # fmt: skip
        groups = table.getvalue() if table else None
        st.session_state[PREPARING] = services.intake().prepare(path, preparation, services.browser(), groups)
        st.rerun()
