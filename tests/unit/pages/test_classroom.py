"""A class follows its presenter, votes twice, and leaves its answers as CSV; who is no presenter leads nothing."""

import csv
import html
import io
import json

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from kd_core.base.config import LabError
from kd_core.experiments.lesson.quiz import ITEMS
from pages.shared.access import auth
from pages.shared.room import class_routes, classroom
from pages.shared.room.classroom import Classroom, Question, View, read
from pages.shared.words import NOTHING

QUESTION = {"prompt": "What can T change?", "answers": ["the order", "the entropy", "both"], "truth": 1, "why": "Why."}
VIEW = {"address": "temperature?T=4", "title": "Feel temperature", "T": 4.0}
PHONES = [f"phone{number:04}" for number in range(5)]


@pytest.fixture
def lesson():
    led = Classroom(clock=lambda: 0.0)
    led.ask(read(Question, QUESTION))
    return led


def public(led):
    return json.loads(led.news())["question"]


def test_counts_and_truth_stay_with_the_presenter_until_they_are_shown(lesson):
    for phone in PHONES[:3]:
        lesson.vote(phone, 0)
    lesson.vote(PHONES[2], 1)  # the newest answer of each counts
    assert lesson.for_presenter()["question"]["counts"] == [[2, 1, 0]]
    assert not {"counts", "truth", "why"} & set(public(lesson))
    lesson.reveal(True)
    assert public(lesson) | {"counts": [[2, 1, 0]], "truth": 1, "why": "Why.", "open": False} == public(lesson)


def test_a_second_round_hides_the_first_and_then_both_are_shown(lesson):
    lesson.vote(PHONES[0], 0)
    lesson.reveal(True)
    lesson.again()
    assert "counts" not in public(lesson)
    assert (public(lesson)["round"], public(lesson)["open"]) == (2, True)
    lesson.vote(PHONES[0], 1)
    lesson.reveal(True)
    assert public(lesson)["counts"] == [[1, 0, 0], [0, 1, 0]]
    with pytest.raises(LabError, match="both its rounds"):
        lesson.again()


def test_answers_count_while_a_question_takes_them(lesson):
    with pytest.raises(LabError, match="none of the answers"):
        lesson.vote(PHONES[0], 3)
    lesson.stop()
    with pytest.raises(LabError, match="no more answers"):
        lesson.vote(PHONES[0], 1)
    lesson.put_away()
    with pytest.raises(LabError, match="No question"):
        lesson.again()


def test_the_csv_has_a_line_a_vote_and_no_phone():
    led = Classroom()
    answers = ["the order", "=1+1", "both"]
    led.ask(read(Question, QUESTION | {"prompt": "=HYPERLINK(1)", "answers": answers}))
    led.vote(PHONES[1], 2)
    led.vote(PHONES[0], 1)
    led.again()
    led.vote(PHONES[1], 1)
    lines = list(csv.DictReader(io.StringIO(led.to_csv())))
    assert [(line["round"], line["voter"], line["answer"]) for line in lines] == [
        ("1", "1", "both"), ("1", "2", NOTHING + "=1+1"), ("2", "1", NOTHING + "=1+1"),
    ]  # fmt: skip
    assert {line["question"] for line in lines} == {NOTHING + "=HYPERLINK(1)"}
    assert {line["true answer"] for line in lines} == {NOTHING + "=1+1"}
    assert not any(phone in led.to_csv() for phone in PHONES)


def test_news_change_with_the_view_alone(lesson):
    before = lesson.version
    lesson.show(read(View, VIEW))
    lesson.show(read(View, VIEW))
    assert lesson.version == before + 1
    assert json.loads(lesson.news())["view"]["T"] == 4.0


@pytest.mark.parametrize(
    "sent", [{}, VIEW | {"T": -1}, VIEW | {"image": "javascript:alert(1)"}, VIEW | {"more": 1}, VIEW | {"title": None}]
)
def test_what_is_no_view_is_refused_in_a_sentence(sent):
    with pytest.raises(LabError):
        read(View, sent)


def test_who_follows_is_who_asked_a_moment_ago():
    now = [0.0]
    led = Classroom(clock=lambda: now[0])
    led.follow(PHONES[0])
    now[0] = classroom.SEEN_SECONDS / 2
    led.follow(PHONES[1])
    assert led.followers() == 2
    now[0] = classroom.SEEN_SECONDS + 0.1
    assert led.followers() == 1


@pytest.fixture
def client(monkeypatch, tmp_path):
    """Of a server with both passwords."""
    monkeypatch.setenv("KD_PASSWORD", "apples")
    monkeypatch.setenv("KD_PRESENTER_PASSWORD", "pears")
    monkeypatch.setenv("KD_HOME", str(tmp_path))
    monkeypatch.setattr(class_routes._Now, "classroom", None)
    monkeypatch.setattr(class_routes._Now, "wrong", [])
    auth.auth_of.cache_clear()
    yield TestClient(Starlette(routes=class_routes.ROUTES, middleware=[Middleware(auth.RequirePassword)]))
    auth.auth_of.cache_clear()


def lead(client, act, **more):
    cookie = auth.server_auth().sign_in("pears", None)
    return client.post("/class/lead", json={"do": act, **more}, headers={"cookie": f"{auth.COOKIE}={cookie}"})


def test_phones_need_the_code_and_no_password_and_lead_nothing(client):
    assert client.get("/class").status_code == 200
    assert client.post("/class/lead", json={"do": "begin"}).status_code == 403
    assert client.get("/class/present", follow_redirects=False).headers["location"] == "../enter?to=/class/present"
    code = lead(client, "begin").json()["code"]
    lead(client, "show", view=VIEW)
    assert client.get("/class/now", params={"code": code.lower(), "me": PHONES[0]}).json()["view"]["T"] == 4.0
    wrong = client.get("/class/now", params={"code": "22222", "me": PHONES[0]})
    assert (wrong.status_code, wrong.json()) == (404, class_routes.NO_CLASS)
    assert client.get("/class/votes.csv").status_code == 403
    assert client.get("/train").status_code == 401


def test_a_phone_votes_and_hears_of_what_is_new_alone(client):
    code = lead(client, "begin").json()["code"]
    assert lead(client, "ask", question=QUESTION).json()["question"]["votes"] == 0
    ask = {"code": code, "me": PHONES[0]}
    version = client.get("/class/now", params=ask).json()["version"]
    assert client.get("/class/now", params=ask | {"seen": version}).status_code == 204
    assert client.post("/class/vote", json=ask | {"answer": 1}).json() == "counted"
    assert client.post("/class/vote", json=ask | {"answer": "1"}).status_code == 409
    assert client.get("/class/now", params=ask | {"seen": version}).status_code == 204, "a vote is no news to phones"
    assert lead(client, "reveal").json()["question"]["counts"] == [[0, 1, 0]]
    assert client.get("/class/now", params=ask | {"seen": version}).json()["question"]["truth"] == 1
    assert lead(client, "end").json() is None
    assert client.get("/class/now", params=ask).status_code == 404


def test_codes_cannot_be_tried_out_and_who_is_in_goes_on(client):
    code = lead(client, "begin").json()["code"]
    assert client.get("/class/now", params={"code": code, "me": PHONES[0]}).status_code == 200
    for _ in range(class_routes.MOST_WRONG):
        client.get("/class/now", params={"code": "22222", "me": PHONES[1]})
    held_up = client.get("/class/now", params={"code": code, "me": PHONES[1]})
    assert (held_up.status_code, held_up.json()) == (404, "Too many wrong codes: wait a minute, then try again.")
    assert client.get("/class/now", params={"code": code, "me": PHONES[0]}).status_code == 200


def test_what_is_no_question_and_what_is_too_much_end_in_a_sentence(client):
    lead(client, "begin")
    assert lead(client, "ask", question=QUESTION | {"truth": 7}).status_code == 400
    assert lead(client, "ask", question={"prompt": "?"}).status_code == 400
    assert lead(client, "picture", picture="x" * (classroom.MOST_PICTURE + 1)).status_code == 400
    assert client.post("/class/vote", content=b"x" * 2000).json() == "This is too much to send."
    assert client.post("/class/vote", content=b"[1]").status_code == 409


def test_the_quiz_before_and_after_gives_a_gain_of_those_who_took_both():
    led, right = Classroom(), [item.answer for item in ITEMS]
    wrong = [(answer + 1) % 4 for answer in right]
    with pytest.raises(LabError, match="no more answers"):
        led.take_quiz(PHONES[0], right)
    led.open_quiz("before")
    led.take_quiz(PHONES[0], [*right[:4], *wrong[4:]])
    led.take_quiz(PHONES[1], wrong)
    assert led.gain() == {"both": 0, "before": None, "after": None, "gain": None}
    led.open_quiz("after")
    led.take_quiz(PHONES[0], [*right[:6], None, "x"])
    led.take_quiz(PHONES[2], wrong)
    assert led.gain() == {"both": 1, "before": 0.5, "after": 0.75, "gain": 0.5}
    assert {key for item in json.loads(led.news())["quiz"]["items"] for key in item} == {"prompt", "answers"}
    lines = list(csv.DictReader(io.StringIO(led.quiz_to_csv())))
    assert [(line["voter"], line["when"], line["score"]) for line in lines] == [
        ("1", "before", "4"), ("2", "before", "0"), ("1", "after", "6"), ("3", "after", "0"),
    ]  # fmt: skip
    for nothing in ([], [None] * 8, ["a"] * 8, right * 2):
        with pytest.raises(LabError, match="at least one item"):
            led.take_quiz(PHONES[0], nothing)


def test_the_sheet_prints_all_items_and_their_key(client):
    sheet = client.get("/class/quiz")
    assert sheet.status_code == 200
    for item in ITEMS:
        assert sheet.text.count(html.escape(item.answers[item.answer], quote=False)) >= 2
    code = lead(client, "begin").json()["code"]
    assert lead(client, "quiz", when="before").json()["quiz"]["open"] == "before"
    ask = {"code": code, "me": PHONES[0]}
    assert client.post("/class/vote", json=ask | {"quiz": [0] * 8}).json() == "counted"
    assert lead(client, "quiz", when="never").status_code == 400
    assert client.get("/class/quiz.csv").status_code == 403
