"""The seam for other languages: which is read, how a sentence is found and filled in, and Korean particles."""

import copy
import json
import pickle
import time
from gettext import NullTranslations
from types import SimpleNamespace

import pytest
from node import computed_by

from kd_core.base.config import LabError
from kd_core.base.templates import counted, said
from kd_core.models.config import ModelConfig
from kd_core.runs.run import Run
from kd_core.training.config import RunConfig
from pages.shared import language
from pages.shared.components.common.browser import COMMON_JS, with_words
from pages.shared.language import plural
from pages.shared.words import in_language

PARTICLES = {
    # digits, as they are read in Korean
    "0은(는)": "0은", "1은(는)": "1은", "2은(는)": "2는", "3은(는)": "3은", "4은(는)": "4는", "5은(는)": "5는",
    "6은(는)": "6은", "7은(는)": "7은", "8은(는)": "8은", "9은(는)": "9는", "10을(를)": "10을",
    "1,025과(와)": "1,025와",
    # letters by their names
    "T을(를)": "T를", "T이(가)": "T가", "alpha은(는)": "alpha는", "L을(를)": "L을", "M과(와)": "M과",
    "KL이(가)": "KL이", "ONNX은(는)": "ONNX는", "R이(라)": "R이라", "n은(는)": "n은",
    # syllables with and without a consonant at the end
    "교사은(는)": "교사는", "학생은(는)": "학생은", "교사이(가)": "교사가", "학생이(가)": "학생이",
    "교사을(를)": "교사를", "학생을(를)": "학생을", "교사과(와)": "교사와", "학생과(와)": "학생과",
    "교사이(라)": "교사라", "학생이(라)": "학생이라", "교사으로(로)": "교사로", "학생으로(로)": "학생으로",
    # after ㄹ stands 로
    "모델으로(로)": "모델로", "1으로(로)": "1로", "7으로(로)": "7로", "8으로(로)": "8로", "L으로(로)": "L로",
    "R으로(로)": "R로", "3으로(로)": "3으로", "2으로(로)": "2로", "N으로(로)": "N으로", "모델이(라)": "모델이라",
    # marks between
    "'3'이(가)": "'3'이", '"2"을(를)': '"2"를', "“7”은(는)": "“7”은", "**학생**은(는)": "**학생**은",
    "`T`을(를)": "`T`를", "[교사]과(와)": "[교사]와", "데이터(MNIST)이(라)": "데이터(MNIST)라",
    "‘모델’으로(로)": "‘모델’로",
    # what is added in brackets is not read
    "교사(기본 제공)이(가)": "교사(기본 제공)가", "**학생**(student)을(를)": "**학생**(student)을",
    "(3)은(는)": "(3)은",
    # several, other signs, and what is no particle
    "교사은(는) 학생을(를) 가르칩니다": "교사는 학생을 가르칩니다", "50%은(는)": "50%는", "은(는)": "은(는)",
    "3 은(는)": "3 은(는)", "3은(는": "3은(는", "T가 오르면": "T가 오르면", "": "",
}  # fmt: skip


class Words(NullTranslations):
    """A language of a few words: message -> translation, of a plural by its form for many."""

    def __init__(self, words):
        super().__init__()
        self.words = words

    def gettext(self, message):
        return self.words.get(message, message)

    def ngettext(self, msgid1, msgid2, n):
        return self.words.get(msgid2, msgid1 if n == 1 else msgid2)


@pytest.fixture
def korean(monkeypatch):
    """korean({message: translation}): from now on Korean is read, and this is all of it."""

    def read(words):
        monkeypatch.setattr(language, "translations", lambda code: Words(words if code == "ko" else {}))
        monkeypatch.setattr(language, "current", lambda: "ko")

    return read


@pytest.fixture
def visit(monkeypatch):
    """visit(locale, query, session) -> the session and address of a visit, which settle then changes."""

    def come(locale=None, query=None, session=None):
        come = SimpleNamespace(
            query_params={**(query or {})}, session_state={**(session or {})}, context=SimpleNamespace(locale=locale)
        )
        monkeypatch.setattr(language, "st", come)
        return come

    return come


@pytest.mark.parametrize(("written", "read"), PARTICLES.items())
def test_particles_fit_what_stands_before_them(written, read):
    assert language.with_particles(written) == read


def test_particles_of_scripts_are_those_of_python():
    program = f"const window = globalThis;\n{COMMON_JS}\nconsole.log(JSON.stringify(v.map(withParticles)));"
    assert computed_by((), program, [*PARTICLES]) == [*PARTICLES.values()]


def test_scripts_find_their_words_fill_them_in_and_count():
    words = {
        "{name} has no weights": "{name}은(는) 가중치가 없습니다",
        "{count} run trains": "실행 {count}개가 학습합니다",
        "{count} runs train": "실행 {count}개가 학습합니다",
    }
    program = f"""const window = globalThis;
        const WORDS = {json.dumps(words)};
        {COMMON_JS}
        const counted = (count) => plural("{{count}} run trains", "{{count}} runs train", count);
        const read = [_("{{name}} has no weights", {{ name: v }}), counted(1), counted(12345), _("No {{word}} for it")];
        console.log(JSON.stringify(read));"""
    assert computed_by((), program, "학생") == [
        "학생은 가중치가 없습니다", "실행 1개가 학습합니다", "실행 12,345개가 학습합니다", "No {word} for it",
    ]  # fmt: skip
    english = program.replace(f"const WORDS = {json.dumps(words)};", "")
    assert computed_by((), english, "it") == [
        "it has no weights", "1 run trains", "12,345 runs train", "No {word} for it",
    ]  # fmt: skip


def test_what_is_said_is_english_to_whoever_does_not_translate_it():
    sentence = said("{name} made {errors:,} errors", name="mlp", errors=1234)
    assert sentence == "mlp made 1,234 errors"
    assert f"{sentence}." == "mlp made 1,234 errors."
    assert json.dumps([sentence]) == '["mlp made 1,234 errors"]'
    assert {sentence: 1}["mlp made 1,234 errors"] == 1
    assert str(LabError(sentence)) == "mlp made 1,234 errors"
    assert said("softmax(z/T) = {e^z/T}") == "softmax(z/T) = {e^z/T}"


@pytest.mark.parametrize("copied", [lambda text: pickle.loads(pickle.dumps(text)), copy.deepcopy, copy.copy])
def test_what_is_said_keeps_its_template_through_pickles_and_copies(copied):
    for sentence in (
        said("{name} trains", name=said("teacher")),
        counted("{count} run", "{count} runs", 3),
        said("Start"),
    ):
        again = copied(sentence)
        assert again == sentence
        assert (again.template, again.many, again.values) == (sentence.template, sentence.many, sentence.values)


def test_what_is_counted_takes_the_form_of_its_number():
    forms = [counted("{count:,} run", "{count:,} runs", count) for count in (0, 1, 2, 1000)]
    assert forms == ["0 runs", "1 run", "2 runs", "1,000 runs"]


def test_a_template_without_its_values_is_refused():
    with pytest.raises(KeyError):
        said("{name} has {errors} errors", name="mlp")
    with pytest.raises(KeyError):
        language._("{name} has {errors} errors", name="mlp")


def test_english_needs_no_catalogue():
    assert language._("{name} has no weights", name="mlp") == "mlp has no weights"
    assert language._("$e^{z/T}$ stays") == "$e^{z/T}$ stays"
    assert [plural("{count} run", "{count} runs", count) for count in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]
    assert language._(counted("{count} run", "{count} runs", 1)) == "1 run"


def test_a_sentence_is_translated_with_the_values_in_it(korean):
    korean({"{name} teaches {count:,} students": "{name}은(는) 학생 {count:,}명을 가르칩니다", "teacher": "교사"})
    assert (
        language._("{name} teaches {count:,} students", name="mlp 8", count=1234) == "mlp 8은 학생 1,234명을 가르칩니다"
    )
    sentence = said("{name} teaches {count:,} students", name=said("teacher"), count=2)
    assert sentence == "teacher teaches 2 students"
    assert language._(sentence) == "교사는 학생 2명을 가르칩니다"
    assert language._(said("{name} teaches {count:,} students", name="teacher", count=2)).startswith("teacher")


def test_a_plural_is_translated_whatever_it_counts(korean):
    korean({"{count} runs train": "실행 {count}개가 학습합니다"})
    for count in (0, 1, 2, 2.5, 1.0):
        assert plural("{count} run trains", "{count} runs train", count) == f"실행 {count}개가 학습합니다"
        assert language._(counted("{count} run trains", "{count} runs train", count)) == f"실행 {count}개가 학습합니다"


def test_a_name_that_is_no_message_stays_as_it_is(korean):
    korean({"Start": "시작"})
    assert language._("my run {3} 은(는)") == "my run {3} 은(는)"
    assert language._("") == ""
    assert language._("Start") == "시작"


def test_an_error_is_read_by_what_the_engine_said(korean):
    korean({"T must be above 0, got {value:g}": "T는 0보다 커야 하지만 {value:g}을(를) 받았습니다"})
    sentence = said("T must be above 0, got {value:g}", value=-1.0)
    assert language.of_error(LabError(sentence)) == "T는 0보다 커야 하지만 -1을 받았습니다"
    assert language.of_error(LabError("as it is")) == "as it is"
    assert language.of_error(OSError(28, "No space left on device")) == "[Errno 28] No space left on device"
    assert language.of_error(KeyError()) == ""


@pytest.mark.parametrize(
    ("wished", "code"),
    [
        ("ko-KR", "ko"), ("ko", "ko"), ("KO-kr", "ko"), ("ko-KR,ko;q=0.9,en-US;q=0.8", "ko"), ("en-GB,ko;q=0.5", "en"),
        ("de-DE,ko;q=0.8,en;q=0.5", "ko"), ("de-DE", "en"), ("", "en"), (",;q=1,", "en"), ("x", "en"),
    ],
)  # fmt: skip
def test_a_browser_is_given_the_first_of_its_languages_that_is_here(wished, code):
    assert language.of_browser(wished) == code


@pytest.mark.parametrize(
    ("locale", "query", "session", "read", "address"),
    [
        ("en-US", {}, {}, "en", {}),
        ("ko-KR", {}, {}, "ko", {}),
        (None, {}, {}, "en", {}),
        ("en-US", {"lang": "ko"}, {"lang": "en"}, "ko", {"lang": "ko"}),
        ("ko-KR", {"lang": "en"}, {}, "en", {"lang": "en"}),
        ("ko-KR", {"T": "4"}, {"lang": "en"}, "en", {"T": "4", "lang": "en"}),
        ("en-US", {}, {"lang": "ko"}, "ko", {"lang": "ko"}),
        ("ko-KR", {"lang": "xx"}, {}, "ko", {"lang": "xx"}),
        ("en-US", {"lang": "xx"}, {"lang": "ko"}, "ko", {"lang": "ko"}),
        ("en-US", {"lang": ""}, {}, "en", {"lang": ""}),
    ],
)
def test_the_address_is_heard_before_the_session_and_that_before_the_browser(
    visit, locale, query, session, read, address
):
    come = visit(locale, query, session)
    for _run in range(2):
        assert language.settle() == read
        assert come.session_state == {"lang": read}
        assert come.query_params == address


def test_outside_of_a_page_english_is_read_unless_another_is_spoken():
    assert language.current() == "en"
    with language.spoken("ko"):
        assert language.current() == "ko"
        with language.spoken("en"):
            assert language.current() == "en"
        assert language.current() == "ko"
    with pytest.raises(RuntimeError), language.spoken("ko"):
        raise RuntimeError
    assert language.current() == "en"


def test_a_language_is_all_its_catalogues(tmp_path, monkeypatch):
    fields = ("Language: ko", "Plural-Forms: nplurals=1; plural=0;", "Content-Type: text/plain; charset=utf-8")
    head = 'msgid ""\nmsgstr ""\n' + "".join(f'"{field}\\n"\n' for field in fields)
    (tmp_path / "ko").mkdir()
    (tmp_path / "ko" / "one.po").write_text(
        f'{head}\nmsgid "Start"\nmsgstr "시작"\n\nmsgid "Later"\nmsgstr ""\n', "utf-8"
    )
    plurals = 'msgid "{count} run"\nmsgid_plural "{count} runs"\nmsgstr[0] "실행 {count}개"\n'
    (tmp_path / "ko" / "two.po").write_text(f"{head}\n{plurals}", "utf-8")
    monkeypatch.setattr(language, "CATALOGUES", tmp_path)
    words = language.translations.__wrapped__("ko")
    assert words.gettext("Start") == "시작"
    assert words.gettext("Later") == "Later"
    assert [words.ngettext("{count} run", "{count} runs", count) for count in (1, 2)] == ["실행 {count}개"] * 2
    assert language.translations("en").gettext("Start") == "Start"


def test_a_script_is_given_the_words_that_it_says_and_no_others(korean):
    """Also those within a template, and within the values of others."""
    korean({"Pause": "일시 정지", "{count} runs train": "실행 {count}개가 학습합니다", "Start": "시작"})
    script = """export default () => { // "of a test"
      button.title = _("Pause"); text = `${_("Slow")} ${n}`; const other = _("Only {what}", { what: _("that") });
      return plural("{count} run trains", "{count} runs train", n, { n });
    }"""
    counts = "실행 {count}개가 학습합니다"
    words = language.words_of(script, "ko")
    assert words == {
        "Pause": "일시 정지", "Slow": "Slow", "Only {what}": "Only {what}", "that": "that",
        "{count} run trains": counts, "{count} runs train": counts,
    }  # fmt: skip
    assert with_words(script, "ko") == f"const WORDS = {json.dumps(words, ensure_ascii=False)};\n{script}"
    assert language.words_of(script, "en") == {}
    assert with_words(script, "en") == script


def test_dates_are_in_the_order_of_the_language(korean):
    moment = time.mktime((2026, 11, 30, 21, 7, 0, 0, 0, -1))
    assert language.when(moment, "dd MMMM yyyy") == "30 November 2026"
    korean({})
    assert language.when(moment, "dd MMMM yyyy") == "2026년 11월 30일"


@pytest.mark.parametrize(
    ("name", "english", "read"),
    [
        ("", "teacher mlp 30, norm last · digits · 0a1b", "교사 mlp 30, 활성화 뒤 정규화 · digits · 0a1b"),
        ("MNIST teacher, shipped", "MNIST teacher, shipped", "MNIST teacher, shipped"),
        (
            "Digits (scikit-learn) teacher, shipped", "Digits (scikit-learn) teacher, shipped",
            "scikit-learn 손글씨 숫자 교사(기본 제공)",
        ),
        ("teacher", "teacher", "teacher"),
    ],
)  # fmt: skip
def test_the_label_of_a_run_is_translated_but_what_somebody_called_it(name, english, read):
    config = RunConfig(role="teacher", dataset="digits", model=ModelConfig(hidden=(30,), norm_last=True))
    label = Run(id="0a1b2c3d4e", created_at=0, config=config, batch="", status="queued", name=name).label
    assert label == english
    with language.spoken("ko"):
        assert in_language(label) == read
