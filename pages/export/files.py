"""The files of an export, with what each did on the test set, and what to do with them."""

from functools import partial

import pandas as pd
import streamlit as st

from kd_core.base.templates import said
from kd_core.exchange.export import checks as export_checks
from kd_core.exchange.export import offline_page, snippets
from kd_core.exchange.export.checks import Checks, Options
from kd_core.experiments import story
from kd_core.runs.run import Run, new_id
from pages.shared.access import rights
from pages.shared.language import _, plural
from pages.shared.parts.button import pressed
from pages.shared.parts.findings import finding
from pages.shared.parts.missing import say_missing, say_own_code
from pages.shared.session import pickers, services
from pages.shared.words import in_language, literal, refusals, say_refusal

PROGRAM_HEIGHT = 420
"""Pixels of a program that is read on the page."""
MEANINGS = {
    export_checks.WEIGHTS: said("Weights for PyTorch, as safetensors: nothing in it can run"),
    export_checks.ONNX: said("ONNX, float32, any number of images at once"),
    export_checks.ONNX_FP16: said("ONNX, weights and arithmetic in 16 bits instead of 32"),
    export_checks.ONNX_INT8: said("ONNX, weights and activations in 8 bits instead of 32"),
    export_checks.PROGRAM: said("A program of torch.export: PyTorch without this project's code"),
}


def checks_of(run: Run) -> Checks | None:
    """Return the checks of a run's export, which is made first where there is none; None until then."""
    if run.config.model.opaque:
        st.info(
            literal(
                _(
                    "{run} gives logits alone: the file that it was brought as is all there is to take away.",
                    run=in_language(run.label),
                )
            ),
            icon=":material/block:",
        )
        return None
    say_own_code([run])
    checks = export_checks.read_checks(services.store().folder(run.id))
    if checks is None and not pickers.test_set_is_here([run]):
        say_missing(run.config.dataset, _("Each file is checked on its whole test set before it is offered."))
    elif checks is None:
        kept = services.store().finding("export", [run.id])
        if kept is not None and "problem" not in kept:  # made once, but its files are gone or were changed
            services.store().forget_finding("export", [run.id])
        finding("export", [run], _("Writing the files and checking each on the whole test set"))
    return checks


def checked_files(run: Run, checks: Checks) -> None:
    """Offer a download for every file that passed, with the checks of all of them folded below."""
    rows = [
        {
            _("file"): file.name,
            _("what it is"): _(MEANINGS[file.name]),
            _("size, MB"): file.size_bytes / 1e6,
            _("largest logit difference"): file.max_logit_difference,
            _("classes that changed"): file.classes_changed,
            _("test errors"): file.test_errors,
            _("original"): file.original_test_errors,
            _("passed"): file.passed,
        }
        for file in checks.files
    ]
    formats = {_("size, MB"): "%.2f", _("largest logit difference"): "%.2g"}
    columns = {name: st.column_config.NumberColumn(format=form) for name, form in formats.items()}
    st.markdown(
        _(
            "**{passed} of {files} files** passed their check on the whole test set.",
            passed=len(checks.passed),
            files=len(rows),
        )
    )
    with st.container(horizontal=True, gap="small"):
        for name in [*checks.passed, export_checks.CONFIG, export_checks.CARD]:
            _download(run, name)
    for file in checks.files:
        verdict = literal(f"{file.name}: {_(file.in_words)}")
        if not file.passed or file.beyond:
            st.warning(verdict, icon=":material/block:" if not file.kept else ":material/warning:")
        elif file.continues:
            st.info(verdict, icon=":material/check:")
        if file.withheld and st.toggle(_("Hand {file} out anyway", file=file.name), key=f"anyway_{file.name}"):
            _download(run, file.name)
    if not run.config.training.int8_aware and checks.file(export_checks.ONNX_INT8).beyond:
        _offer_int8_aware(run)
    st.page_link(
        "pages/compare/page.py",
        label=_("Predictions and mistakes, image by image"),
        icon=":material/table_view:",
        query_params={"compared": run.id, "closer": "Mistakes"},
    )
    with st.expander(_("What each file did on the test set")):
        st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=columns)


def _offer_int8_aware(run: Run) -> None:
    """Offer one more run from these weights, which learns what int8 does to it by the same loss."""
    epochs = story.int8_epochs(run)
    offer = plural(
        "One more run can learn what int8 does: {count} epoch from these weights, rounded as the file is.",
        "One more run can learn what int8 does: {count} epochs from these weights, rounded as the file is.",
        epochs,
    )
    say_refusal()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(offer)
        if pressed(_("Train on, int8-aware"), key=f"int8_{run.id}", icon=":material/model_training:"):
            with refusals():
                (new,) = rights.submit({new_id(): story.continued(run, epochs, int8_aware=True)})
                st.session_state[f"int8_aware_{run.id}"] = new
    for aware in services.store().some([*filter(None, [st.session_state.get(f"int8_aware_{run.id}")])]):
        page, query = ("export", {"run": aware.id}) if aware.status == "finished" else ("runs", {"runs": aware.id})
        label = literal(f"{in_language(aware.label)}: {_(aware.status)}")
        st.page_link(f"pages/{page}/page.py", label=label, icon=":material/arrow_forward:", query_params=query)


def _download(run: Run, name: str) -> None:
    st.download_button(
        name,
        partial(export_checks.as_downloaded, services.store().folder(run.id), name),
        file_name=export_checks.download_name(run.id, name),
        key=f"export_{name}",
        icon=":material/download:",
        on_click="ignore",
    )


def written_otherwise(run: Run, checks: Checks) -> None:
    """Offer to write the files again: for another opset, a fixed number of images, another tolerance."""
    st.session_state.setdefault(f"batch_{run.id}", checks.options.batch)  # with a value of its own it cannot be emptied
    options = checks.options
    with st.expander(_("Opset, batch and tolerance")), st.form("export_options", border=False):
        opset, batch, tolerance = st.columns(3)
        chosen = {
            "opset": opset.selectbox(
                _("ONNX opset"),
                range(export_checks.OPSETS[0], export_checks.OPSETS[1] + 1),
                index=options.opset - export_checks.OPSETS[0],
                key=f"opset_{run.id}",
                help=_("The least is read by every ONNX Runtime since 2023; some compilers want a later one."),
            ),
            "batch": batch.number_input(
                _("Images at once"),
                min_value=1,
                max_value=export_checks.MOST_AT_ONCE,
                value=None,
                placeholder=_("any number"),
                key=f"batch_{run.id}",
                help=_("Empty: any number. Compilers for small devices want one fixed number, most often 1."),
            ),
            "tolerance": tolerance.number_input(
                _("Tolerance, percentage points"),
                min_value=0.0,
                max_value=50.0,
                value=100 * options.tolerance,
                step=0.1,
                format="%.2f",
                key=f"tolerance_{run.id}",
                help=_(
                    "So much accuracy may float16 and int8 lose. What loses more is handed out only where it can be"
                    " chance, by McNemar's exact test on the images that exactly one of the two gets wrong, or on"
                    " request."
                ),
            )
            / 100,
        }
        if st.form_submit_button(
            _("Write the files again"), icon=":material/refresh:", disabled=not rights.may_control(run)
        ):
            rights.export_anew(run, Options(**chosen))
            st.rerun()


def ready_made(run: Run, checks: Checks) -> None:
    """Show programs that run the downloaded files, and offer a page that needs nothing else."""
    passed, folder = checks.passed, services.store().folder(run.id)
    if export_checks.ONNX not in passed:
        return
    images = snippets.images_of(folder)
    st.header(_("Run it"), anchor=False)
    digit = _(
        "Each program stands beside a file as it is downloaded here, and reads a picture as this app does: a digit on"
        " paper, wherever it stands."
    )
    picture = _("Each program stands beside a file as it is downloaded here, and reads a picture as this app does.")
    st.markdown(digit if images.digits else picture)
    python, browser, page = st.tabs([_("In Python"), _("In a web page of yours"), _("In a file that you can mail")])
    with python:
        kind = st.segmented_control(
            _("File"), passed, default=export_checks.ONNX, required=True, key="python_of", bind="query-params"
        )
        file = export_checks.download_name(run.id, kind)
        program = snippets.python_snippet(kind, file, images, checks.options.batch)
        st.download_button(
            "classify.py",
            program,
            file_name="classify.py",
            key="classify",
            icon=":material/download:",
            on_click="ignore",
        )
        st.code(program, language="python", height=PROGRAM_HEIGHT)
    with browser:
        file = export_checks.download_name(run.id, export_checks.ONNX)
        st.code(snippets.browser_snippet(file, images, checks.options.batch), language="html")
    with page:
        problem = offline_page.browser_page_problem(folder)
        if problem:
            st.info(literal(_(problem)), icon=":material/block:")
            return
        canvas = _(
            "One HTML file with the model inside, a canvas to draw on, and a slider for temperature. It needs no"
            " network: double-click it, or mail it to a class."
        )
        button = _(
            "One HTML file with the model inside, a button to choose a picture, and a slider for temperature. It needs"
            " no network: double-click it, or mail it to a class."
        )
        st.markdown(canvas if images.digits else button)
        st.download_button(
            _("Download the page"),
            lambda: offline_page.browser_page(folder) or b"",
            file_name=f"kd-lab-{run.id}.html",
            key="browser_page",
            icon=":material/draw:" if images.digits else ":material/image:",
            on_click="ignore",
        )
