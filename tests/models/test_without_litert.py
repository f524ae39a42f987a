"""With tflite-runtime alone networks run; what looks into their files says what it needs."""

import subprocess
import sys

import pytest

from maskedge.errors import EX_UNAVAILABLE
from maskedge.modelfile import models_dir

SCRIPT = """
import sys
sys.modules["ai_edge_litert"] = None
from maskedge.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize("command", [["list"], ["verify"], ["install"]])
def test_it_is_said_and_not_a_traceback(command, tmp_path):
    files = [] if command == ["list"] else [str(models_dir() / "mask_classifier.tflite")]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "models", *command, *files],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == EX_UNAVAILABLE, done.stderr
    assert "pip install 'ai-edge-litert>=2'" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
