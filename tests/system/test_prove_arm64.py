"""What scripts/prove-arm64 installs beside the program is what the tests that it runs import."""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = {"maskedge", "numpy", "cv2"}


def constant(script, name):
    for node in ast.parse(script.read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == name:
            return ast.literal_eval(node.value)
    raise AssertionError(f"{script} has no {name}")


def imported(path):
    """Packages that a file loads when it is collected."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.partition(".")[0]


def test_the_golden_tests_find_all_that_they_import():
    script = ROOT / "scripts/prove-arm64"
    folders = [ROOT / name for name in constant(script, "GOLDEN_TESTS")]
    beside = {path.stem for folder in folders for path in folder.glob("*.py")}
    files = {folder / "conftest.py" for folder in folders} | {folders[1] / "test_interpreter.py"}
    needed = {name for path in files if path.is_file() for name in imported(path)}
    needed -= set(sys.stdlib_module_names) | PROGRAM | beside
    assert needed == set(constant(script, "TEST_PACKAGES"))
