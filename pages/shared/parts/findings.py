"""What has to be found out of trained runs first: asked for once, found in a worker when nothing trains, then kept."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from kd_core.base.config import LabError
from kd_core.jobs.findings import Finding
from kd_core.runs.run import Run
from pages.shared.access import rights
from pages.shared.language import _, of_error
from pages.shared.session import services
from pages.shared.words import literal

REFRESH_SECONDS, REFRESH_SECONDS_WHILE_TRAINING = 0.5, 3.0
"""While runs have the workers a finding waits for its turn, and pages that look often would run in vain."""


def finding(kind: Finding, runs: Sequence[Run], waiting: str, refused: set[str] | None = None) -> dict[str, Any] | None:
    """What is known of runs of one data set, or None while it is being found out, which waiting says in words.

    refused: sentences of refusals that stand on the page already. None of them is shown again, and a new refusal's is
    added.
    """
    ids = [run.id for run in runs]
    result = services.store().finding(kind, ids)
    if result is None:
        try:
            rights.find_out(kind, ids)
        except LabError as error:
            sentence, shown = of_error(error), set() if refused is None else refused
            if sentence not in shown:
                st.warning(literal(sentence), icon=":material/hourglass:")
            shown.add(sentence)
            return None
        seconds = REFRESH_SECONDS_WHILE_TRAINING if services.jobs().lineup() else REFRESH_SECONDS
        st.fragment(_wait, run_every=seconds)(kind, ids, waiting)
        return None
    if "problem" in result:
        st.warning(literal(_(result["problem"])), icon=":material/error:")
        key = f"again_{kind}_{'_'.join(ids)}"
        st.button(_("Try again"), key=key, on_click=services.store().forget_finding, args=(kind, ids))
        return None
    return result


def _wait(kind: Finding, ids: Sequence[str], waiting: str) -> None:
    if services.store().finding(kind, ids) is not None:
        st.rerun(scope="app")
    st.info(_("{waiting}, as soon as nothing trains …", waiting=literal(_(waiting))), icon=":material/timer:")
