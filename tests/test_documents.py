"""README and docs: links lead somewhere, commands parse, examples are valid, named files exist."""

import pathlib
import re
import sys

import commandlines
import documents
import pytest
from documents import ROOT, Document

sys.path.insert(0, str(ROOT / "scripts"))

import commands_page

PAGES = [
    path.relative_to(ROOT)
    for pattern in ("*.md", "convert/README.md", "models/MODEL_CARD.md", "docs/**/*.md")
    for path in sorted(ROOT.glob(pattern))
]
CHECKS = (
    documents.broken_links,
    documents.broken_names,
    documents.broken_blocks,
    documents.broken_commands,
)


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_nothing_is_broken(path):
    page = documents.document(path)
    assert [problem for check in CHECKS for problem in check(page)] == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[a](docs/nowhere.md)", "docs/nowhere.md: no such file"),
        ("![a](docs/images/none.jpg)", "no such file"),
        ("[a](docs/faults.md#nothing)", "docs/faults.md#nothing: no such heading"),
        ("[a](#nothing)\n# Something", "#nothing: no such heading"),
        ("see benchmarks/soaks.py", "benchmarks/soaks.py: no such file"),
        ("`tests/test_cli.py::test_nothing`", "no such test"),
        ("```sh\nmaskedge detekt x\n```", "maskedge detekt: no such command"),
        ("```sh\nsudo maskedge run --sauce x | less\n```", "maskedge run: No such option"),
        ("```\nmaskedge listen --host\n```", "requires an argument"),
        ("```sh\nmaskedge run extra\n```", "too many arguments: extra"),
        ("    python -m convert train --task both", "'both' is not one of"),
        ("`maskedge run --set verdict.min_faces=40`", "did you mean `min_face`?"),
        ("```sh\npython -m convert train --task detector \\\n  --nothing\n```", "No such option"),
        ("```sh\npython benchmarks/soak.py --framez 1\n```", "no option --framez"),
        ("```sh\nsudo systemd/install.sh --purj\n```", "no option --purj"),
        ("```sh\nmake tests\n```", "make tests: no such target"),
        ("`pip install '.[webb]'`", "no extra webb"),
        ("`pip install 'maskedge[web]'`", "on no index"),
        ("```json\n{'a': 1}\n```", "json: Expecting property name"),
        ("```yaml\nverdict: {min_faces: 4}\n```", "did you mean `min_face`?"),
        ("```yaml\na: [\n```", "yaml: "),
        ("```python\nif:\n```", "python: invalid syntax"),
    ],
)
def test_what_is_broken_is_found(text, problem):
    page = Document(pathlib.Path("planted.md"), text)
    found = [problem for check in CHECKS for problem in check(page)]
    assert len(found) == 1, found
    assert found[0].startswith("planted.md:")
    assert problem in found[0]


def test_the_fault_matrix_names_tests_that_exist():
    text = (ROOT / "docs/faults.md").read_text()
    short = dict(re.findall(r"`(\w)/` (?:is )?(tests/\w+)", text))
    assert set(short) == {"C", "D", "I", "S"}
    defined = "\n".join(path.read_text() for path in ROOT.glob("tests/**/test_*.py"))
    for letter, file in re.findall(r"\b([A-Z])/(test_\w+)", text):
        assert (ROOT / short[letter] / f"{file}.py").exists(), file
    rows = [line.split("|")[3] for line in text.splitlines() if line.count("|") == 5]
    named = [name for row in rows for name in re.findall(r"`(\w+_\w+)…?`", row)]
    assert len(named) > 30
    assert [name for name in named if f"def test_{name}" not in defined] == []


def test_the_examples_of_every_help_parse():
    text = re.sub(r"\\\n\s+", "", commands_page.page())
    lines = re.findall(r"^ +((?:maskedge|python -m convert) .+)$", text, re.MULTILINE)
    examples = [re.split(r"  +", line)[0] for line in lines]
    assert len(examples) > 30
    assert [problem for line in examples for problem in commandlines.broken(line)] == []


def test_a_decision_has_a_number_of_its_own():
    records = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    numbers = [path.name[:4] for path in records]
    assert len(numbers) > 10
    assert sorted(set(numbers)) == numbers
    headings = [path.read_text(encoding="utf-8").split(":")[0] for path in records]
    assert headings == [f"# {number}" for number in numbers]
