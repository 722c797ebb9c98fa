"""A guest changes nobody else's runs, and the presenter alone deletes: on the page, and behind it."""

import contextlib

import pytest
import requests
from app_test import app_test
from serving import serve
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from tiny import tiny_config, train_here
from websockets.sync.client import connect

from kd_core.base.config import LabError
from kd_core.exchange.teacher.trial import Ask
from kd_core.jobs.dispatch import Dispatcher
from kd_core.jobs.queue import Jobs
from kd_core.runs.run import new_id
from kd_core.runs.store import Store
from pages.runs import table
from pages.shared.access import auth, rights
from pages.shared.live import live
from pages.shared.session import services


@pytest.fixture
def as_visitor(store, monkeypatch):
    """as_visitor(browser, presenter=…): the session is this one's from now on."""

    def become(browser, *, presenter=False):
        monkeypatch.setattr(services, "browser", lambda: browser)
        monkeypatch.setattr(rights, "presenter", lambda: presenter)

    monkeypatch.setattr(services, "store", lambda: store)
    return become


class Recorder:
    """What was asked of the queue."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        return lambda *arguments, **named: self.calls.append((name, *arguments)) or True


@pytest.fixture
def queue(monkeypatch):
    jobs = Recorder()
    monkeypatch.setattr(services, "jobs", lambda: jobs)
    return jobs


@pytest.fixture
def runs(store):
    """A run of anna's, one of ben's and one from a shell."""
    ids = {whose: new_id() for whose in ("anna", "ben", "")}
    for whose, run_id in ids.items():
        store.create({run_id: tiny_config()}, browser=whose)
    return ids


@pytest.mark.parametrize("what", ["stop", "pause", "resume", "describe"])
@pytest.mark.parametrize("whose", ["ben", ""])
def test_a_guest_changes_only_what_their_own_browser_started(as_visitor, queue, runs, store, what, whose):
    as_visitor("anna")

    def change(run_id):
        match what:
            case "resume":
                rights.resume([run_id])
            case "describe":
                rights.describe(store.get(run_id), name="mine", note="", tags=[])
            case _:
                rights.ask([run_id], what)

    with pytest.raises(LabError, match="was started by somebody else: only they and the presenter may change it"):
        change(runs[whose])
    assert queue.calls == []
    assert store.get(runs[whose]).name == ""
    change(runs["anna"])
    assert queue.calls or store.get(runs["anna"]).name == "mine"


def test_several_runs_of_which_one_is_anothers_are_all_left_alone(as_visitor, queue, runs):
    as_visitor("anna")
    with pytest.raises(LabError):
        rights.ask([runs["anna"], runs["ben"]], "stop")
    assert queue.calls == []


def test_a_visitor_without_a_browsers_id_owns_no_run_from_the_shell(as_visitor, runs, store):
    as_visitor("")
    assert not any(rights.may_control(run) for run in store.runs())


def test_the_presenter_may_change_every_run(as_visitor, queue, runs, store):
    as_visitor("carl", presenter=True)
    rights.ask(runs.values(), "pause")
    assert len(queue.calls) == 3
    rights.describe(store.get(runs["ben"]), name="Ben's", note="", tags=[])
    assert store.get(runs["ben"]).name == "Ben's"


def test_nobody_but_the_presenter_deletes_restores_or_brings_in(as_visitor, store, digits):
    run = store.get(train_here(store, tiny_config()))
    as_visitor("anna")
    for refused in (
        lambda: rights.delete(run),
        lambda: rights.restore(run.id),
        lambda: rights.unpack(b""),
        lambda: rights.try_teacher(b"x", Ask(file="x.pt", dataset="digits")),
        lambda: rights.take_teacher(None, ""),
    ):
        with pytest.raises(LabError, match=r"Only the presenter may .* here\."):
            refused()
    assert store.runs()
    as_visitor("anna", presenter=True)
    rights.delete(run)
    assert store.runs() == []
    rights.restore(run.id)
    assert len(store.runs()) == 1


def test_a_guests_runs_are_counted_and_the_presenters_are_not(as_visitor, monkeypatch):
    submitted = []

    class Queue:
        def submit(self, configs, browser, *, privileged):
            submitted.append((browser, privileged))

    monkeypatch.setattr(services, "jobs", Queue)
    as_visitor("anna")
    rights.submit({})
    as_visitor("carl", presenter=True)
    rights.submit({})
    assert submitted == [("anna", False), ("carl", True)]


@pytest.fixture
def both(store, monkeypatch):
    """The id of a run that anna and ben asked for, and a queue that starts none."""
    monkeypatch.setattr(Dispatcher, "_serve", lambda dispatcher: None)
    queue = Jobs(store)
    monkeypatch.setattr(services, "jobs", lambda: queue)
    (run_id,) = queue.submit({new_id(): tiny_config()}, "anna")
    assert queue.submit({new_id(): tiny_config()}, "ben") == [run_id]
    yield run_id
    queue.close()


@pytest.mark.parametrize("presenter", [False, True])
def test_who_stops_what_another_asked_for_too_leaves_it_to_them(as_visitor, both, store, presenter):
    as_visitor("ben", presenter=presenter)
    assert rights.may_control(store.get(both))
    rights.ask([both], "stop")
    assert (store.request(both), store.get(both).browsers) == (None, ("anna",))
    assert rights.may_control(store.get(both)) == presenter
    if presenter:  # an app without a password has presenters alone
        rights.ask([both], "stop")
        assert store.request(both) == "stop"


def test_a_stop_that_is_heard_twice_is_one_stop(as_visitor, both, store):
    """The live view asks again what may have been lost on the way: the second must not be the presenter's for all."""
    as_visitor("ben", presenter=True)
    for _ in range(2):
        live._do(both, "stop", mine=True)
    assert (store.request(both), store.get(both).browsers) == (None, ("anna",))


def test_other_watchers_are_named_from_the_viewers_side_while_a_run_goes(as_visitor, both, store):
    def seen(browser):
        as_visitor(browser)
        run = store.get(both)
        return live._details(run).partition("browser")[0].rpartition(" · ")[2], table._whose(run, browser)

    assert seen("anna") == seen("ben") == ("also watched by another ", "yours and another browser's")
    assert seen("cora") == ("another ", "another browser's")
    store.apply(both, {"kind": "finished", "results": {"test_errors": 1}})
    assert seen("anna")[1] == "yours"
    assert not any("another" in seen(browser)[0] for browser in ("anna", "ben", "cora"))


def test_what_two_asked_for_is_gone_when_it_was_deleted_twice(as_visitor, both, store):
    store.apply(both, {"kind": "finished", "results": {"test_errors": 1}})
    as_visitor("ben", presenter=True)
    assert not rights.delete(store.get(both))
    assert store.get(both).browsers == ("anna",)
    assert rights.delete(store.get(both))
    assert store.runs() == []


def test_who_redoes_an_experiment_asks_for_what_trains_already(as_visitor, store, both):
    as_visitor("cora")
    rights.join([both])
    assert store.get(both).browsers == ("anna", "ben", "cora")


@pytest.fixture
def open_as(home, monkeypatch, at_this_machine):
    """open_as(role, page, …) -> a page as a guest or the presenter finds it, in a home with one finished run."""
    monkeypatch.setenv("KD_HOME", str(home))
    store = services._opened(home).store
    run_id = train_here(store, tiny_config())

    def open_it(role, page, **address):
        monkeypatch.setenv("KD_PRESENTER_PASSWORD", "boss" if role == "guest" else "")
        auth.auth_of.cache_clear()
        app = app_test()
        app.query_params["runs"] = run_id
        for name, value in address.items():
            app.query_params[name] = value
        app.run()
        if page != "overview":
            app.session_state[f"menu_{run_id}"] = True
            app.switch_page(f"pages/{page}/page.py").run()
        assert not app.exception
        return app, run_id

    yield open_it
    services.jobs().close()
    store.close()


@pytest.mark.parametrize("role", ["guest", "presenter"])
def test_the_runs_page_offers_what_its_visitor_may_do(open_as, role):
    app, run_id = open_as(role, "runs")
    keys = {button.key for button in app.button}
    assert (f"delete_{run_id}" in keys) == (role == "presenter")
    assert f"again_{run_id}" in keys
    assert bool(app.file_uploader) == (role == "presenter")
    assert any(field.key == f"name_{run_id}" for field in app.text_input) == (role == "presenter")


@pytest.mark.parametrize("role", ["guest", "presenter"])
def test_the_train_page_takes_teachers_from_the_presenter_alone(open_as, role):
    app, _ = open_as(role, "train")
    app.segmented_control(key="view").set_value("Set up").run()
    assert bool(app.file_uploader) == (role == "presenter")


@pytest.mark.parametrize("role", ["guest", "presenter"])
def test_a_sweep_of_somebody_else_is_stopped_by_the_presenter_alone(open_as, home, role):
    store = services._opened(home).store
    teacher = store.runs()[0].id
    grid = {new_id(): tiny_config("distilled", teachers=(teacher,), seed=seed) for seed in range(2)}
    store.create(grid, browser="ben")
    app, _ = open_as(role, "sweep", batch=store.get(next(iter(grid))).batch)
    assert any(button.key == "sweep_stop" for button in app.button) == (role == "presenter")


@pytest.mark.parametrize(("role", "resumed"), [("guest", 1), ("presenter", 3)])
def test_overview_resumes_all_that_was_interrupted_and_its_visitor_may_resume(
    open_as, home, monkeypatch, role, resumed
):
    store = services._opened(home).store
    ids = {whose: new_id() for whose in ("anna", "ben", "")}
    for seed, (whose, run_id) in enumerate(ids.items()):
        store.create({run_id: tiny_config("baseline", seed=seed)}, browser=whose)
        store.apply(run_id, {"kind": "interrupted", "text": "for this test"})
    monkeypatch.setattr(services, "browser", lambda: "ben")
    monkeypatch.setattr(Dispatcher, "_serve", lambda dispatcher: None)
    app, _ = open_as(role, "overview")
    assert any(f"{resumed} run" in text.value and "interrupted" in text.value for text in app.markdown)
    app.button(key="resume_all").click().run()
    assert not app.exception
    assert sum(run.status == "queued" for run in store.runs()) == resumed
    assert store.status(ids["ben"]) == "queued"
    assert all(button.key != "resume_all" for button in app.button)


def test_a_guest_sees_the_presenters_sign_in_and_the_presenter_does_not(open_as):
    assert "/enter?to=/" in open_as("guest", "overview")[0].main.markdown[-1].value
    assert not any("/enter" in text.value for text in open_as("presenter", "overview")[0].markdown)


# ------------------------------------------------------------------- what somebody sends who writes messages by hand


class Tab:
    """A tab of a served app, as far as the server can tell: a cookie and a websocket."""

    def __init__(self, socket):
        self.socket, self.ids, self.errors = socket, {}, []

    @classmethod
    @contextlib.contextmanager
    def opened(cls, server, password="", behind=""):
        visitor = requests.Session()
        if behind:
            visitor.headers["X-Forwarded-For"] = behind
        visitor.get(server, timeout=30)
        if password:
            visitor.post(f"{server}/enter", data={"password": password}, timeout=30)
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())}
        headers |= {"X-Forwarded-For": behind} if behind else {}
        stream = f"{server.replace('http', 'ws')}/_stcore/stream"
        with connect(stream, subprotocols=["streamlit"], additional_headers=headers, max_size=None) as socket:
            yield cls(socket)

    def ask(self, run_id, *pressed, opened=()):
        """Have the runs page run with buttons pressed and popovers open; notes what is on it: label -> widget's id."""
        message = BackMsg()
        message.rerun_script.query_string, message.rerun_script.page_name = f"runs={run_id}", "runs"
        for name in (*pressed, *opened):
            state = message.rerun_script.widget_states.widgets.add()
            state.id = name
            if name in pressed:
                state.trigger_value = True
            else:
                state.bool_value = True
        self.socket.send(message.SerializeToString())
        self.ids, self.errors = {}, []
        while True:
            answer = ForwardMsg()
            answer.ParseFromString(self.socket.recv(timeout=30))
            element, block = answer.delta.new_element, answer.delta.add_block
            if element.button.label:
                self.ids[element.button.label] = element.button.id
            if block.popover.label:
                self.ids[block.popover.label] = block.popover.id
            if element.HasField("exception"):
                self.errors.append(element.exception.message)
            if answer.WhichOneof("type") == "script_finished":
                return self.ids

    def empty_caches(self):
        self.socket.send(BackMsg(clear_cache=True).SerializeToString())


@pytest.fixture
def served(tmp_path, monkeypatch, digits):
    """The address of a served app whose presenter has a password, its store, and a run that a shell trained."""
    monkeypatch.setenv("KD_PRESENTER_PASSWORD", "boss")
    with serve(tmp_path) as server:
        store = Store(tmp_path)
        yield server.address, store, train_here(store, tiny_config())
        store.close()


def test_a_guests_handwritten_messages_press_no_button_of_the_presenters(served):
    address, store, run_id = served
    with Tab.opened(address, password="boss") as presenter, Tab.opened(address, behind="203.0.113.9") as guest:
        opened = [presenter.ask(run_id)["Name, continue, delete"]]
        presenter.ask(run_id, opened=opened)
        first = presenter.ids["Delete"]
        second = presenter.ask(run_id, first, opened=opened)["Delete it"]
        guest.ask(run_id)
        guest.empty_caches()  # which all share, with the store and the queue in them
        assert "Continue" in guest.ask(run_id, opened=opened)
        assert "Delete" not in guest.ids
        for pressed in ((first,), (second,), (first, second)):
            assert "Delete it" not in guest.ask(run_id, *pressed, opened=opened)
            assert guest.errors == []
        assert [run.id for run in store.runs()] == [run_id]
        presenter.ask(run_id, second, opened=opened)
        assert store.runs() == []
