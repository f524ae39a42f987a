"""``python -m convert`` in a process of its own, one thread, no GPU."""

import os
import subprocess
import sys

ENVIRONMENT = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}


def convert(*arguments, check=True):
    """What it did; with ``check`` it must have ended with 0."""
    command = [sys.executable, "-m", "convert", *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=500, check=False, env=ENVIRONMENT
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done
