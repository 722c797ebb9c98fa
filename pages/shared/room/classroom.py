"""A class that follows its presenter: what they show, the question they ask, and the answers to it.

Held in memory and nowhere else, until the class ends. Knows no server: class_routes.py says who may lead, and who asks.
"""

import csv
import io
import json
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kd_core.base.config import LabError
from kd_core.base.templates import said
from kd_core.experiments.lesson.quiz import ITEMS, normalised_gain, score
from pages.shared import language
from pages.shared.language import _
from pages.shared.words import cell

LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Of a class's code: none that is read for another one."""
CODE_LENGTH = 5
WHENS = ("before", "after")
"""The lesson: when its quiz is taken."""
ROUNDS = 2
"""Of votes on a question: before the class has discussed it, and after (peer instruction: Crouch and Mazur 2001)."""
MOST_ANSWERS, MOST_VOTERS, MOST_QUESTIONS = 8, 2_000, 200
MOST_PICTURE = 600_000
"""Characters of a picture of the presenter's page."""
SEEN_SECONDS = 6.0
"""For how long a phone that asked counts as following."""

Kind = TypeVar("Kind", bound=BaseModel)
Line = Annotated[str, Field(min_length=1, max_length=400)]

ImageAddress = Annotated[str, Field(max_length=60_000, pattern=r"^data:image/(png|webp|jpeg);base64,[A-Za-z0-9+/=]*$")]


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Question(_Sent):
    """A question, its answers, which of them is true where one is, and why."""

    prompt: Line
    answers: Annotated[tuple[Line, ...], Field(min_length=2, max_length=MOST_ANSWERS)]
    truth: Annotated[int, Field(ge=0, lt=MOST_ANSWERS)] | None = None
    why: Annotated[str, Field(max_length=1_000)] = ""


class Bars(_Sent):
    """Models' logits of the presenter's image; label: the index of its true class, None where nobody knows."""

    classes: Annotated[tuple[Line, ...], Field(max_length=1_000)]
    models: Annotated[tuple[dict[str, Any], ...], Field(max_length=8)]
    label: int | None = None


class View(_Sent):
    """What the presenter's page shows. address: relative to the app's own."""

    address: Annotated[str, Field(max_length=4_000)]
    title: Annotated[str, Field(max_length=200)]
    T: Annotated[float, Field(gt=0, le=1e6)] | None = None
    bars: Bars | None = None
    image: ImageAddress | None = None
    suggested: Question | None = None
    notes: Annotated[str, Field(max_length=4_000)] = ""


@dataclass
class Poll:
    """A question before the class: for each round who gave which answer, whether it still takes some, and is shown."""

    question: Question
    rounds: list[dict[str, int]] = field(default_factory=lambda: [{}])
    open: bool = True
    shown: bool = False

    def counts(self) -> list[list[int]]:
        """Votes of each answer, by round."""
        return [
            [Counter(votes.values())[answer] for answer in range(len(self.question.answers))] for votes in self.rounds
        ]


class Classroom:
    """One class. Not for several threads at once: the server's event loop alone uses it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.code = "".join(secrets.choice(LETTERS) for _ in range(CODE_LENGTH))
        self.view: View | None = None
        self.picture = ""
        self.polls: list[Poll] = []
        self.version = 0
        self._on = False
        self.quiz: dict[str, dict[str, tuple[int | None, ...]]] = {when: {} for when in WHENS}
        self.quiz_open = ""
        self._clock = clock
        self._followers: dict[str, float] = {}
        self._numbers: dict[str, int] = {}
        self._news: dict[str, bytes] = {}

    @property
    def current(self) -> Poll | None:
        """The question before the class."""
        return self.polls[-1] if self.polls and self._on else None

    def show(self, view: View) -> None:
        """Have everybody see what the presenter sees now."""
        if view != self.view:
            self.view = view
            self._changed()

    def show_picture(self, picture: str) -> None:
        """Show a drawing (SVG) of the presenter's page where there are no bars. Raises LabError for one too large."""
        if len(picture) > MOST_PICTURE:
            raise LabError(said("This picture is too large for a class's phones."))
        if picture != self.picture:
            self.picture = picture
            self._changed()

    def ask(self, question: Question) -> None:
        """Put a question before the class. Raises LabError for a truth that is none of its answers."""
        if question.truth is not None and question.truth >= len(question.answers):
            raise LabError(said("The answer that is marked as true is not among the answers."))
        if len(self.polls) >= MOST_QUESTIONS:
            raise LabError(said("This class has had 200 questions: end it, and begin another."))
        self.polls.append(Poll(question))
        self._on = True
        self._changed()

    def again(self) -> None:
        """Vote once more, after a discussion; what the first round gave is hidden until both are shown."""
        poll = self._needs_question()
        if len(poll.rounds) >= ROUNDS:
            raise LabError(said("This question had both its rounds."))
        poll.rounds.append({})
        poll.open, poll.shown = True, False
        self._changed()

    def stop(self) -> None:
        """Take no more answers."""
        self._needs_question().open = False
        self._changed()

    def reveal(self, shown: bool) -> None:
        """Show the answers as bars, with the truth, on the stage and on phones; or hide them again."""
        poll = self._needs_question()
        poll.shown, poll.open = shown, poll.open and not shown
        self._changed()

    def put_away(self) -> None:
        """Take the question off the stage; its votes stay for the CSV."""
        self._on = False
        self._changed()

    def vote(self, voter: str, answer: int) -> None:
        """Count an answer, the newest of each voter. Raises LabError where none is taken."""
        poll = self.current
        if poll is None or not poll.open:
            raise LabError(said("This question takes no more answers."))
        if not 0 <= answer < len(poll.question.answers):
            raise LabError(said("This is none of the answers."))
        self._number(voter)
        poll.rounds[-1][voter] = answer

    def open_quiz(self, when: str) -> None:
        """Let phones take the quiz, before the lesson or after it; empty: take no more answers."""
        if when not in ("", *WHENS):
            raise LabError(said("The quiz is taken before the lesson and after it."))
        self.quiz_open = when
        self._changed()

    def take_quiz(self, voter: str, given: Sequence[Any]) -> None:
        """Keep somebody's answers to all items, the newest. Raises LabError for none, and while no quiz is open."""
        if not self.quiz_open:
            raise LabError(said("The quiz takes no more answers."))
        answers = tuple(
            answer if isinstance(answer, int) and 0 <= answer < len(item.answers) else None
            for answer, item in zip(given, ITEMS, strict=False)
        )
        if len(given) != len(ITEMS) or not any(answer is not None for answer in answers):
            raise LabError(said("Answer at least one item."))
        self._number(voter)
        self.quiz[self.quiz_open][voter] = answers

    def gain(self) -> dict[str, Any]:
        """Mean scores before and after, and the normalised gain, of those who took both; what is unknown is None."""
        both = self.quiz["before"].keys() & self.quiz["after"].keys()
        if not both:
            return {"both": 0, "before": None, "after": None, "gain": None}
        before, after = (sum(score(self.quiz[when][voter]) for voter in both) / len(both) for when in WHENS)
        return {
            "both": len(both),
            "before": before,
            "after": after,
            "gain": None if before == 1 else normalised_gain(before, after),
        }

    def followers(self) -> int:
        """How many phones asked within SEEN_SECONDS."""
        since = self._clock() - SEEN_SECONDS
        self._followers = {phone: at for phone, at in self._followers.items() if at > since}
        return len(self._followers)

    def follow(self, phone: str) -> None:
        """Count this phone as following."""
        if phone in self._followers or len(self._followers) < MOST_VOTERS:
            self._followers[phone] = self._clock()

    def follows(self, phone: str) -> bool:
        """Whether this phone asked before."""
        return phone in self._followers or phone in self._numbers

    def news(self) -> bytes:
        """All that a phone shows, as JSON; made once for all of a language after each change."""
        if language.current() not in self._news:
            poll = self.current
            news = {
                "version": self.version,
                "view": self.view and self.view.model_dump(exclude={"suggested", "notes"}),
                "picture": bool(self.picture),
                "question": poll and _public(poll, len(self.polls)),
                "quiz": self.quiz_open and {"when": self.quiz_open, "items": _items()},
            }
            self._news[language.current()] = json.dumps(news).encode()
        return self._news[language.current()]

    def for_presenter(self) -> dict[str, Any]:
        """How the class stands, for the presenter's own screen."""
        poll, question = self.current, None
        if poll is not None:
            question = _public(poll, len(self.polls)) | {"counts": poll.counts(), "votes": len(poll.rounds[-1])}
        return {
            "code": self.code,
            "followers": self.followers(),
            "question": question,
            "suggested": self.view and self.view.suggested and self.view.suggested.model_dump(),
            "notes": self.view.notes if self.view else "",
            "quiz": {"open": self.quiz_open, "taken": [len(taken) for taken in self.quiz.values()], **self.gain()},
        }

    def to_csv(self) -> str:
        """All votes of the class: a line for each question, round and voter, who is a number that says nothing."""
        written = io.StringIO()
        lines = csv.writer(written)
        lines.writerow(["number", "question", "round", "voter", "answer", "true answer"])
        for number, poll in enumerate(self.polls, 1):
            answers, truth = poll.question.answers, poll.question.truth
            for turn, votes in enumerate(poll.rounds, 1):
                for voter, answer in sorted(votes.items(), key=lambda vote: self._numbers[vote[0]]):
                    right = "" if truth is None else answers[truth]
                    prompt, chosen, true = map(cell, (poll.question.prompt, answers[answer], right))
                    lines.writerow([number, prompt, turn, self._numbers[voter], chosen, true])
        return written.getvalue()

    def quiz_to_csv(self) -> str:
        """All answers to the quiz: a line for each voter, before and after, and in it 1 for each item that is right."""
        written = io.StringIO()
        lines = csv.writer(written)
        lines.writerow(["voter", "when", *(f"item {number}" for number in range(1, len(ITEMS) + 1)), "score"])
        for when, taken in self.quiz.items():
            for voter, answers in sorted(taken.items(), key=lambda sheet: self._numbers[sheet[0]]):
                right = [int(answer == item.answer) for answer, item in zip(answers, ITEMS, strict=True)]
                lines.writerow([self._numbers[voter], when, *right, sum(right)])
        return written.getvalue()

    def _number(self, voter: str) -> None:
        if voter not in self._numbers and len(self._numbers) >= MOST_VOTERS:
            raise LabError(said("More than {count:,} have voted in this class.", count=MOST_VOTERS))
        self._numbers.setdefault(voter, len(self._numbers) + 1)

    def _needs_question(self) -> Poll:
        if self.current is None:
            raise LabError(said("No question stands before the class."))
        return self.current

    def _changed(self) -> None:
        self.version += 1
        self._news = {}


def _items() -> list[dict[str, Any]]:
    """The quiz as phones show it: without what is true."""
    return [{"prompt": _(item.prompt), "answers": [_(answer) for answer in item.answers]} for item in ITEMS]


def _public(poll: Poll, number: int) -> dict[str, Any]:
    """What phones may know: the counts and the truth only once they are shown."""
    public: dict[str, Any] = {
        "number": number,
        "prompt": poll.question.prompt,
        "answers": poll.question.answers,
        "round": len(poll.rounds),
        "open": poll.open,
        "shown": poll.shown,
    }
    return public | (
        {"counts": poll.counts(), "truth": poll.question.truth, "why": poll.question.why} if poll.shown else {}
    )


def read(kind: type[Kind], sent: Mapping[str, Any]) -> Kind:
    """What a browser sent, as what it should be. Raises LabError in a sentence."""
    try:
        return kind.model_validate(sent)
    except ValidationError as error:
        first = error.errors()[0]
        raise LabError(f"{'.'.join(map(str, first['loc'])) or kind.__name__}: {first['msg']}.") from None
