"""Docstrings of functions begin with a verb, and names of modules and classes say what they are (CONVENTIONS)."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "mcp_sessions").rglob("*.py"))
Function = ast.FunctionDef | ast.AsyncFunctionDef

VERBS = """
    Cause Click Compress Execute Increment Index Kill Play Press Purge Receive Recheck Subscribe Unpack
    Accept Add Allow Announce Answer Append Apply Archive Ask Assert Begin Bound Bring Build Call Cancel Change
    Check Choose Claim Clear Close Collect Commit Compare Complete Compute Connect Continue Convert Copy Correct
    Count Create Cut Declare Decode Decrypt Delete Derive Detect Discard Divide Do Drop Encode Encrypt End Enter
    Escape Examine Exit Expand Explain Export Extract Fetch Fill Filter Find Finish Fit Fold Follow Forget Fork
    Format Get Give Go Group Guess Handle Hide Hold Ignore Import Insert Interrupt Iterate Join Keep Leave Let
    Limit Link List Load Lock Log Look Lower Make Map Mark Mask Match Measure Merge Migrate Modify Move Name
    Normalize Notify Open Order Page Parse Pass Pause Pick Point Prepare Preserve Print Probe Process Protect
    Prune Put Quote Raise Reach Read Reconnect Record Redact Reduce Refresh Refuse Register Reject Release
    Remember Remove Rename Render Reopen Repeat Replace Reply Report Require Reread Reserve Reset Resolve
    Restore Resume Retrieve Retry Return Rewrite Roll Round Run Save Say Scan Search See Select Send Separate
    Serve Set Settle Shorten Show Shut Sign Skip Sort Spend Split Start Stop Store Stream Strip Subtract
    Suppress Swallow Switch Sync Take Tell Test Tidy Track Transform Translate Trim Try Turn Undo Unlock Unwrap
    Update Use Validate Verify Visit Wait Wake Walk Warn Wrap Write Yield
"""
"""Words with which the docstring of a function may begin; add a verb in the imperative when one is missing."""

VAGUE = """
    accepted called common done flagged helper helpers held manager misc placed said started told turns util utils whole
"""
"""Words that no name of a module or class may contain."""


def is_property(function: Function) -> bool:
    return any(
        ast.unparse(decorator).rpartition(".")[2] in ("property", "cached_property")
        for decorator in function.decorator_list
    )


def docstrings_without_verb(source: str, *, except_tests: bool = False) -> Iterator[tuple[int, str]]:
    """Yield the line and the first word of each function's docstring that doesn't begin with one of `VERBS`.

    `except_tests`: leave out tests, whose names say what they check. Their docstrings give reasons.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Function) and not is_property(node):
            if except_tests and node.name.startswith("test_"):
                continue
            docstring = ast.get_docstring(node)
            word = (docstring or "").split(maxsplit=1)[:1]
            if docstring is not None and (not word or word[0].rstrip(".,:") not in VERBS.split()):
                yield node.lineno, "".join(word)


def words_of(name: str) -> set[str]:
    """Return the words of a name in snake_case or CamelCase, in lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)}


def vague_names(path: Path) -> list[str]:
    names = [path.stem]
    names += [node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)]
    return [name for name in names if words_of(name) & set(VAGUE.split())]


def test_docstrings_of_functions_begin_with_a_verb() -> None:
    offenders = [
        f"{path.relative_to(ROOT)}:{line} {word}"
        for path in MODULES
        for line, word in docstrings_without_verb(path.read_text())
    ]
    assert offenders == []


def test_docstrings_of_test_helpers_begin_with_a_verb() -> None:
    offenders = [
        f"{path.relative_to(ROOT)}:{line} {word}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for line, word in docstrings_without_verb(path.read_text(), except_tests=True)
    ]
    assert offenders == []


def test_modules_and_classes_have_no_vague_names() -> None:
    assert [f"{path.relative_to(ROOT)} {name}" for path in MODULES for name in vague_names(path)] == []


def test_the_rules_find_a_noun_and_a_vague_name(tmp_path: Path) -> None:
    source = (
        'class A:\n    @property\n    def b(self):\n        """The b."""\n\n    def c(self):\n        """The c."""\n'
    )
    assert list(docstrings_without_verb(source)) == [(6, "The")]
    path = tmp_path / "file_utils.py"
    path.write_text("class HeldValue: ...\nclass Held: ...\nclass Wholesale: ...\n")
    assert vague_names(path) == ["file_utils", "HeldValue", "Held"]
