"""What pages and their scripts say goes through `_` or `plural`, in forms that the catalogues' tool can read."""

import ast
import re
import symtable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MODULES = [ROOT / "app.py", *sorted(ROOT.glob("pages/**/*.py"))]
SCRIPTS = [path for path in sorted(ROOT.glob("pages/**/*.js")) if ".min." not in path.name]
SEAM = {"_", "said", "plural", "counted", "Said"}
LOGS = {"log", "_log", "logging"}
SENTENCE = re.compile(r"\b[A-Z][a-z']*,? [a-z]{2,}|[a-z]{2,} [a-z]+\.(?= |$)")
"""Two words, the first with a capital, or the second before a full stop."""
NOT_READ = {
    "pages/shared/access/auth.py": "of the command line, where the app does not start",
    "pages/shared/access/bounds.py": "answers to an upload, of which pages/shared/parts/uploads.js tells the visitor",
    "pages/shared/room/qr.py": "answers to a hand-made address",
    "pages/shared/server/streamlit_patches.py": "Streamlit's own words, which are looked for",
}
"""Files whose sentences no visitor reads on a page, and why."""
_LITERAL = r"""(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
_CALL = re.compile(rf"(?<![\w.$])(?:_\(\s*{_LITERAL}(?:\s*\+\s*{_LITERAL})*|plural\(\s*{_LITERAL}\s*,\s*{_LITERAL})")
_TEXT = re.compile(rf"{_LITERAL}|`(?:[^`\\]|\\.)*`")


def named(function):
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def text_of(node):
    """A literal, with {} for the places of an f-string; None of any other expression."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return None


def outside_of_the_seam(node):
    """(line, text) of each sentence in a program that is no template of a call, no docstring and none for the log."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    inner = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.Call):
        of_log = isinstance(node.func, ast.Attribute) and named(node.func.value).lower() in LOGS
        if of_log:
            return
        if named(node.func) in SEAM:
            inner = [part for part in (*node.args, *node.keywords) if not isinstance(part, ast.Constant)]
    text = text_of(node)
    if text is not None and SENTENCE.search(re.sub(r"<[^>]*>", "", text)):
        yield node.lineno, text
    for part in inner:
        if not (isinstance(node, ast.JoinedStr) and isinstance(part, ast.Constant)):
            yield from outside_of_the_seam(part)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_says_a_sentence_past_the_seam(path):
    if str(path.relative_to(ROOT)) not in NOT_READ:
        assert list(outside_of_the_seam(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_no_script_says_a_sentence_past_the_seam(path):
    script = re.sub(
        r"^\s*//.*$|\s//\s.*$|/\*.*?\*/|/(?:[^/\\\n]|\\.)+/[gim]+",
        "",
        path.read_text(encoding="utf-8"),
        flags=re.MULTILINE,
    )
    texts = [re.sub(r"\$\{[^}]*\}|<[^>]*>", "", text) for text in _TEXT.findall(_CALL.sub("_(", script))]
    assert [text for text in texts if SENTENCE.search(text)] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_template_is_one_literal(path):
    """No f-string, whose values nobody would find in a catalogue, and no choice or sum of texts."""
    wrong = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SEAM:
            templates = node.args[: 2 if node.func.id in ("plural", "counted") else 1]
            wrong += [
                (template.lineno, ast.unparse(template))
                for template in templates
                if isinstance(template, (ast.JoinedStr, ast.BinOp))
                or (
                    isinstance(template, ast.IfExp)
                    and any(isinstance(each, ast.Constant) for each in (template.body, template.orelse))
                )
            ]
    assert wrong == []


def scopes(table):
    yield table
    for inner in table.get_children():
        yield from scopes(inner)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_that_is_thrown_away_hides_the_underscore(path):
    """`for _ in …` makes `_` a local name, which `_("…")` of the same function then calls."""
    source = path.read_text(encoding="utf-8")
    _module, *others = scopes(symtable.symtable(source, str(path), "exec"))
    used = [(scope, scope.lookup("_")) for scope in others if "_" in scope.get_identifiers()]
    assert [scope.get_name() for scope, name in used if name.is_referenced() and not name.is_global()] == []
