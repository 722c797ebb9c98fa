"""All that KD Lab knows of Streamlit's inside: no other module imports anything from below `streamlit`.

Written for WRITTEN_FOR; apply() warns of any other version. The docstring of each patch says which fault it mends and
how to see whether it is still needed: take its line out of PATCHES, and look.
"""

import json
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from pkgutil import resolve_name
from typing import Any
from urllib.parse import parse_qs, urlencode
from weakref import WeakKeyDictionary

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.navigation.page import StreamlitPage
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.runtime.scriptrunner import get_script_run_ctx

from kd_core.base.templates import Said, said

__all__ = [
    "DeltaGenerator",
    "StreamlitPage",
    "apply",
    "frontend",
    "is_uploaded",
    "permitted",
    "runs_a_page",
    "undisturbed",
]
WRITTEN_FOR = "1.67"
SECONDS_A_DOWNLOAD_WAITS = 60.0
SECONDS_BETWEEN_LOOKS = 0.02
"""At whether the last messages of a script that has ended were sent."""
REQUESTS = ("rerun_script", "stop_script", "file_urls_request", "app_heartbeat", "backend_operation_request")
"""What a tab may ask of Streamlit. The rest is for who develops an app: to empty the caches, for one, which all share
and which hold the store and the queue."""
OPERATIONS = ("deferred_file", "dataframe_chunk")
"""Which backend operations a tab may request. Another one writes files."""
_LOG = logging.getLogger(__name__)


def apply() -> None:
    """Patch Streamlit, once for all sessions; log what does not fit the installed version, and go on."""
    if not st.__version__.startswith(f"{WRITTEN_FOR}."):
        _LOG.warning(
            "KD Lab patches Streamlit %s, and this is %s: pages may misbehave."
            " Install requirements.txt, or revise pages/shared/server/streamlit_patches.py.",
            WRITTEN_FOR,
            st.__version__,
        )
    for target, patch in PATCHES.items():
        owner, _, name = target.rpartition(".")
        try:
            original = getattr(resolve_name(owner), name)
        except (ImportError, AttributeError) as error:
            _LOG.warning("Streamlit's %s cannot be patched: %s.", target, error)
            continue
        if getattr(original, "__module__", None) != __name__:
            setattr(resolve_name(owner), name, patch(original))


def ignore_pages_folder(_: bool | None) -> bool:
    """Patch PagesManager.uses_pages_directory.

    Fault: while there is a folder pages/ and st.navigation has never run, Streamlit lays its old navigation around
    app.py, whatever is in the folder: a deep link on a fresh server opens under a dialog "Page not found".
    Still needed: test_a_deep_link_to_a_fresh_server_opens_inside_the_app (tests/browser) fails without it.
    """
    return False


def watch_no_files(_: Callable[[Any], None]) -> Callable[[Any], None]:
    """Patch AppSession.register_file_watchers.

    Fault: a session that comes back after a lost connection looks for changed source files even where that is switched
    off (server.fileWatcherType = "none"), and holds all others up for 0.13 s.
    Still needed: AppSession sets _local_sources_watcher on reconnection without asking for the option.
    """
    return lambda session: None


def draw_no_fragment_meanwhile(request_rerun: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """Patch AppSession.request_rerun: a fragment waits until the session's script has sent all its messages.

    Fault: Streamlit draws a fragment whose timer rang while a page was drawn afterwards, on the page that the browser
    showed before. A page that was opened meanwhile loses all but what stands above it, and a click on a link that waits
    for its turn counts as a click on the old page. Where the script has ended, a fragment gets a new runner, and those
    messages of the old runner are dropped that the event loop has not come to: parts of a page are missing then, or all
    of it stays grey, since its end is never sent.
    A timer is ignored, as it rings again anyway; a click in a fragment runs once the messages are sent.
    Still needed: open another page, again and again, while a page with a polling fragment is being drawn, on a busy
    machine.
    """
    from streamlit.runtime.scriptrunner_utils.script_requests import ScriptRequestType

    def request_rerun_in_turn(session: Any, client_state: Any) -> None:
        runner = session._scriptrunner  # None once its messages are sent
        if runner is not None and client_state is not None and client_state.fragment_id:
            if client_state.is_auto_rerun:
                return
            if runner._requests._state == ScriptRequestType.STOP:
                session._event_loop.call_later(SECONDS_BETWEEN_LOOKS, request_rerun_in_turn, session, client_state)
                return
        request_rerun(session, client_state)

    return request_rerun_in_turn


def draw_pages_at_the_top(run_script: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """Patch ScriptRunner._run_script: a page does not begin where a fragment was drawn last.

    Fault: a click that comes while a fragment's run ends is handled by the same thread, in which the fragment's
    container is still the place to write to: the whole page is drawn inside it, and the browser gives the page up
    ("Bad delta path index").
    Still needed: test_a_page_after_a_fragment_is_drawn_at_the_top fails without it.
    """
    from streamlit.delta_generator_singletons import context_dg_stack, get_default_dg_stack_value

    def run_from_the_top(runner: Any, rerun_data: Any) -> None:
        context_dg_stack.set(get_default_dg_stack_value())
        run_script(runner, rerun_data)

    return run_from_the_top


def refer_to_what_browsers_keep(enqueue: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """Patch ScriptRunContext.enqueue: of large messages send those again that the last drawing of the page had not.

    Fault: with each click a browser names the large messages that it keeps, and these are referred to, not sent. It
    drops those that a run did not use, once it hears of that run's end. Where the click was sent before, it is referred
    to what it has no more ("Cached ForwardMsg MISS"), and the page is dead until it is loaded anew.
    Still needed: test_a_browser_is_not_referred_to_what_it_may_have_dropped fails without it.
    """

    def enqueue_or_refer(context: Any, message: Any) -> None:
        with context.session_state.query_params() as kept:
            sent = vars(kept).setdefault("messages_sent", {"run": None, "hashes": set()})
        if sent["run"] is not context.cursors:  # each run has its own
            sent["run"] = context.cursors
            context.cached_message_hashes &= sent["hashes"]
            if not context.fragment_ids_this_run:
                sent["hashes"] = set()
        enqueue(context, message)
        if message.metadata.cacheable:
            sent["hashes"].add(message.hash)

    return enqueue_or_refer


def keep_downloads(remove_orphaned_files: Callable[[Any], None]) -> Callable[[Any], None]:
    """Patch MediaFileManager.remove_orphaned_files: run it every SECONDS_A_DOWNLOAD_WAITS at most.

    Fault: a file that is made when its button is pressed belongs to no page. It is gone at the second end of any run of
    any visitor's page, such as one that polls, before its own browser has fetched it.
    Still needed: test_a_file_made_for_a_download_outlives_the_runs_of_polling_pages fails with Streamlit's own.
    """
    removed_at: WeakKeyDictionary[Any, float] = WeakKeyDictionary()

    def remove_now_and_then(manager: Any) -> None:
        now = time.monotonic()
        if now - removed_at.setdefault(manager, now) >= SECONDS_A_DOWNLOAD_WAITS:
            removed_at[manager] = now
            remove_orphaned_files(manager)

    return remove_now_and_then


def run_callbacks_whole(run_callback: Callable[..., None]) -> Callable[..., None]:
    """Patch SessionState._run_callback_and_record_rerun: no click ends the callback of another one.

    Fault: a callback ends at its next touch of the session where another click came, and is not run again: what was
    chosen is remembered in part.
    Still needed: test_a_callback_runs_whole_though_another_click_comes fails without it.
    """

    def run_whole(state: Any, *positional: Any, **named: Any) -> None:
        with undisturbed():
            run_callback(state, *positional, **named)

    return run_whole


def remember_what_is_written(send: Callable[[Any], None]) -> Callable[[Any], None]:
    """Patch QueryParams._send_query_param_msg: remember the address that a page writes, for take_no_old_address."""

    def send_and_remember(address: Any) -> None:
        send(address)
        context = get_script_run_ctx()
        if context is not None:
            _addresses(address).append(context.query_string)

    return send_and_remember


def hear_what_is_shown(handle_backmsg: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """Patch AppSession.handle_backmsg: forget what was written before the address that a browser sends."""

    def hear_and_handle(session: Any, message: Any) -> None:
        if message.WhichOneof("type") == "rerun_script":
            addresses = _addresses(session._session_state.query_params)
            if addresses[-1:] == [message.rerun_script.query_string]:
                del addresses[:-1]
        handle_backmsg(session, message)

    return hear_and_handle


def take_no_old_address(reset: Callable[..., None]) -> Callable[..., None]:
    """Patch ScriptRunContext.reset: take nothing of a browser's address that the page has replaced meanwhile.

    Fault: with each click a browser sends the address that it shows. Of two clicks at once the second brings the one
    from before the first, and what the first has written there, which is what was chosen, is lost.
    A browser that goes back, or opens another page, does mean what it sends.
    Still needed: test_of_two_clicks_at_once_both_stand (tests/browser) fails without it.
    """

    def reset_to_newest(context: Any, query_string: str = "", page_script_hash: str = "", **rest: Any) -> None:
        with context.session_state.query_params() as address:
            addresses = _addresses(address)
            if context.page_script_hash != page_script_hash or rest.get("is_history_navigation"):
                addresses.clear()
            query_string = newest(query_string, addresses, address.is_bound)
            if addresses[-1:] != [query_string]:
                addresses.append(query_string)
            del addresses[:-MOST_ADDRESSES]
        reset(context, query_string, page_script_hash, **rest)

    return reset_to_newest


MOST_ADDRESSES = 50
"""How many addresses are remembered that a browser has not shown yet."""


def _addresses(address: Any) -> list[str]:
    """The addresses that a session's page had since its browser last showed the newest."""
    addresses: list[str] = vars(address).setdefault("written_for_browser", [])
    return addresses


def newest(shown: str, written: list[str], is_bound: Callable[[str], bool]) -> str:
    """The address that a browser shows, what was replaced since aside: that reads as the last of `written` has it.

    is_bound: whether a parameter is a browser's own to write.
    """
    wished = parse_qs(shown, keep_blank_values=True)
    known = [parse_qs(query, keep_blank_values=True) for query in written]
    replaced = {}
    for name in {name for query in (wished, *known) for name in query if not is_bound(name)}:
        before = [query.get(name) for query in known]
        if before and wished.get(name) != before[-1] and wished.get(name) in before:
            replaced[name] = before[-1] or []
    return urlencode(wished | replaced, doseq=True) if replaced else shown


def send_until_shown(register_widget: Callable[..., Any]) -> Callable[..., Any]:
    """Patch SessionState.register_widget: send a value that a page has set until the browser shows it.

    Fault: it is sent once. Where a click clears what waits to be sent, the widget opens on its lowest or first value,
    which counts as chosen from the next click on.
    Still needed: test_a_field_keeps_what_its_page_set_though_the_browser_missed_it fails without it.
    """

    def register_and_send(state: Any, metadata: Any, key: str | None) -> Any:
        result = register_widget(state, metadata, key)
        shown, unseen = _shown_and_unseen(state)
        missing = metadata.id not in shown and result.value != metadata.deserializer(None)
        if key is None or not (result.value_changed or missing or metadata.id in unseen):
            return result
        unseen.setdefault(metadata.id, shown.get(metadata.id))
        return replace(result, value_changed=True)

    return register_and_send


def take_no_old_value(set_widgets_from_proto: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """Patch SessionState.set_widgets_from_proto: what a page has set is not undone by a browser that missed it.

    Fault: with each click a browser sends the values of all widgets. Of two clicks at once the second brings those from
    before the first, such as a button that fills a form.
    Where nothing but the old value is new, its visitor has put it back.
    Still needed: test_a_field_that_a_button_filled_stays_so_at_the_next_click fails without it.
    """

    def set_new_values(state: Any, sent: Any) -> None:
        shown, unseen = _shown_and_unseen(state)

        def is_news(widget: Any) -> bool:
            kind = widget.WhichOneof("value") or "id"
            return shown.get(widget.id, widget) != widget or ("trigger" in kind and bool(getattr(widget, kind)))

        new, something_is = type(sent)(), any(map(is_news, sent.widgets))
        for widget in sent.widgets:
            if not (something_is and unseen.get(widget.id) == widget):
                unseen.pop(widget.id, None)
                new.widgets.append(widget)
        shown.clear()
        shown.update((widget.id, widget) for widget in sent.widgets)
        set_widgets_from_proto(state, new)

    return set_new_values


def _shown_and_unseen(state: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a session's browser last sent of its widgets, by id; and what it had sent of those set by a page since."""
    kept = vars(state.query_params)  # the state itself has slots
    return kept.setdefault("widgets_shown", {}), kept.setdefault("widgets_unseen", {})


@cache
def frontend() -> tuple[str, bytes]:
    """Read the script of the frontend that speaks of a lost connection, in our words, and FRAME: its name, its content.

    Fault: who sits before a page whose server is gone reads "streamlit run yourscript.py".
    Still needed: test_a_lost_connection_is_said_in_our_words fails without LOST.
    """
    for file in sorted((Path(st.__file__).parent / "static" / "static" / "js").glob("index.*.js")):
        text = file.read_text(encoding="utf-8")
        if all(words in text for words in LOST):
            for words, ours in LOST.items():
                text = text.replace(words, _by_document(ours))
            return file.name, (text + FRAME).encode()
    _LOG.warning("Streamlit's words on a lost connection are not where they were: it says them itself.")
    return "none", b""


def _by_document(words: Said) -> str:
    """What says words in a template string of JavaScript's, in the language of the document, as frame.js sets it."""
    from pages.shared import language

    translated: dict[str, str] = {}
    for code in language.LANGUAGES:
        with language.spoken(code):
            translated[code] = language._(words)
    known = json.dumps(
        {code: text for code, text in translated.items() if code != language.ENGLISH}, ensure_ascii=False
    )
    return f"${{{known}[document.documentElement.lang]??{json.dumps(translated[language.ENGLISH])}}}"


WE_ARE_LOST = said(
    "KD Lab's server does not answer. This page goes on by itself once it does. Nothing is lost: a run that was"
    " training goes on, or can be resumed."
)
LOST = {
    "Is Streamlit still running? If you accidentally stopped Streamlit, just restart it in your terminal:`"
    ",codeBlock:`streamlit run yourscript.py": WE_ARE_LOST,
    "Streamlit server is not responding. Are you connected to the internet?": WE_ARE_LOST,
    "Connection error": said("No connection"),
}
"""What Streamlit says of a lost connection, in template strings, and what we say."""
CONTROLS = (
    *(said("App pages"), said("{count} more"), said("Skip to main content"), said("Help"), said("Help for {what}")),
    *(said("Choose an option"), said("Choose options"), said("Choose or add options"), said("Add options")),
    *(said("Add: {what}"), said("Remove {what}"), said("Selected values"), said("Select all")),
    *(said("Clear all"), said("Clear value"), said("Clear entry"), said("No results")),
    *(said("Increment"), said("Decrement"), said("Link to heading"), said("Clear selection")),
    *(said("Press {key} to apply"), said("Press {key} to submit form"), said("Show password"), said("Hide password")),
    *(said("Upload"), said("file upload"), said("{size} per file"), said("Drag and drop a file here")),
    *(said("{kind} files are not allowed."), said("File must be {size} or smaller."), said("Uploading...")),
    *(said("Download as CSV"), said("Fullscreen"), said("Close fullscreen"), said("Search"), said("Show/hide columns")),
    *(said("Sort ascending"), said("Sort descending"), said("Autosize"), said("Pin column"), said("Unpin column")),
    *(said("Hide column"), said("Format"), said("Copy to clipboard"), said("Copied"), said("Open")),
)
"""What Streamlit's own controls say. frame.js has them say it in the language of the document."""
FRAME = """
{
  const add = (tag, properties) => document.head.append(Object.assign(document.createElement(tag), properties));
  const first = ".stMainBlockContainer { max-width: 80rem !important; padding-top: 4.75rem !important; }"
    + "[data-kd-comes] :is(.stMain, .stAppHeader) { animation: kd-comes 0s 10s both; }"
    + "@keyframes kd-comes { from { visibility: hidden; } }";
  // The stage comes into sight where stage.js has placed it.
  document.documentElement.toggleAttribute("data-kd-comes", /[?&]stage=[1-9]/.test(location.search));
  add("style", { textContent: first });
  add("link", { rel: "stylesheet", href: new URL("../../assets/frame.css", import.meta.url) });
  add("script", { src: new URL("../../assets/frame.js", import.meta.url) });
}
"""
"""Loads what surrounds every page with the first script. A style that a page brings arrives after its first picture."""


PATCHES: dict[str, Callable[[Any], Any]] = {
    "streamlit.runtime.pages_manager:PagesManager.uses_pages_directory": ignore_pages_folder,
    "streamlit.runtime.app_session:AppSession.register_file_watchers": watch_no_files,
    "streamlit.runtime.app_session:AppSession.request_rerun": draw_no_fragment_meanwhile,
    "streamlit.runtime.app_session:AppSession.handle_backmsg": hear_what_is_shown,
    "streamlit.runtime.media_file_manager:MediaFileManager.remove_orphaned_files": keep_downloads,
    "streamlit.runtime.scriptrunner.script_runner:ScriptRunner._run_script": draw_pages_at_the_top,
    "streamlit.runtime.scriptrunner_utils.script_run_context:ScriptRunContext.enqueue": refer_to_what_browsers_keep,
    "streamlit.runtime.scriptrunner_utils.script_run_context:ScriptRunContext.reset": take_no_old_address,
    "streamlit.runtime.state.query_params:QueryParams._send_query_param_msg": remember_what_is_written,
    "streamlit.runtime.state.session_state:SessionState._run_callback_and_record_rerun": run_callbacks_whole,
    "streamlit.runtime.state.session_state:SessionState.register_widget": send_until_shown,
    "streamlit.runtime.state.session_state:SessionState.set_widgets_from_proto": take_no_old_value,
}
"""What is replaced, and the function that makes its replacement of it."""


def permitted(content: bytes, max_address: int) -> bytes | None:
    """A message of a tab as Streamlit may get it, None where it may not.

    max_address: characters of a page's query; a longer one is dropped from the message, as are values of widgets that
    no browser sends.
    """
    message = BackMsg()
    try:
        message.ParseFromString(content)
    except Exception:  # Streamlit ends the connection of who sends such a thing
        return content
    kind = message.WhichOneof("type")
    if kind not in REQUESTS:
        return None
    if kind == "backend_operation_request":
        return content if message.backend_operation_request.WhichOneof("payload") in OPERATIONS else None
    if kind == "rerun_script":
        rerun = message.rerun_script
        odd = [state for state in rerun.widget_states.widgets if not _is_sent_by_browsers(state)]
        for state in odd:
            rerun.widget_states.widgets.remove(state)
        too_long = len(rerun.query_string) > max_address
        if too_long:
            rerun.query_string = ""
        content = message.SerializeToString() if odd or too_long else content
    return content


def _is_sent_by_browsers(state: Any) -> bool:
    """Check a widget's value; what Streamlit itself could not read, or pages not count with, is said in the log."""
    kind = state.WhichOneof("value")
    value = getattr(state, kind or "id")
    try:
        if kind in ("json_value", "json_trigger_value"):
            json.loads(f"{_MARGIN * '['}{value}{_MARGIN * ']'}", parse_constant=int)  # int refuses "NaN"
        numbers = [value] if kind == "double_value" else value.data if kind == "double_array_value" else ()
        if all(map(math.isfinite, numbers)):
            return True
        problem = "it is not a number"
    except (ValueError, RecursionError) as error:
        problem = str(error)[:200]
    _LOG.warning("The value of a widget, %.80s, was ignored, because no browser sends that: %s", state.id, problem)
    return False


_MARGIN = 300
"""How much deeper JSON could be nested and be read: who reads it next is deeper in calls."""


def runs_a_page() -> bool:
    """Whether this is called by a page that is drawn for a visitor, who has a session."""
    return get_script_run_ctx(suppress_warning=True) is not None


@contextmanager
def undisturbed() -> Iterator[None]:
    """Within, no click of its visitor ends this run of the page: it waits until the block has ended.

    Fault: Streamlit ends a run at its next touch of the session or the page, even between starting something and
    remembering what was started. A rerun that the block itself requests waits like a click.
    Still needed: test_what_was_started_is_remembered_though_another_click_comes fails without it.
    """
    context = get_script_run_ctx()
    requests = context.script_requests if context is not None else None
    if requests is None or "on_scriptrunner_yield" in vars(requests):
        yield
        return
    vars(requests)["on_scriptrunner_yield"] = lambda: None
    try:
        yield
    finally:
        del vars(requests)["on_scriptrunner_yield"]


def is_uploaded(session: str, file: str) -> bool:
    """Whether an uploaded file still lies in the server's memory."""
    return bool(st.runtime.get_instance().uploaded_file_mgr.get_files(session, [file]))
