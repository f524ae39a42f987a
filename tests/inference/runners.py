"""Runners that really crash or hang, for the worker process to load by name."""

# ruff: noqa: ARG001 - a runner's signature is given
from __future__ import annotations

import contextlib
import ctypes
import os
import time

from maskedge.inference.interpreter import load_cpu


def abort(path, device, threads):
    os.write(2, b"fatal: check failed: usb_driver.cc\n")
    os.abort()


def segfault(path, device, threads):
    ctypes.string_at(0)


def hang(path, device, threads):
    time.sleep(3600)


def leave(path, device, threads):
    os._exit(3)


def chatter(path, device, threads):
    network = load_cpu(path)
    inner = network.invoke

    def invoke(picture):
        with contextlib.suppress(BlockingIOError):  # as C code, which wouldn't notice
            os.write(2, b"x" * 300_000 + b"\n")
        return inner(picture)

    network.invoke = invoke
    return network


def hungry(path, device, threads):
    bytearray(1 << 40)


def inherited(path, device, threads):
    raise ValueError(f"device {device}, threads {threads}")
