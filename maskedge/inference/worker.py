"""The child process in which a network runs, so that a hang or a crash ends this process alone.

The parent (:mod:`maskedge.inference.process`) sends requests over a socket that keeps message
boundaries; every request gets one reply, in order. Pictures and outputs go through shared memory.

=================  ========================================  ==================================
request            reply                                     meaning
=================  ========================================  ==================================
``L`` + JSON       ``K`` + JSON of the tensors, with the     load a file, run it once on grey
                   shared memory's descriptor
``I`` + slot byte  ``K``                                     run the network of the slot-th load
                                                             request on what lies in memory
any                ``E`` + JSON {kind, message}              it failed
=================  ========================================  ==================================
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import socket
from dataclasses import asdict
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from maskedge.errors import ModelError
from maskedge.inference.interpreter import one_line
from maskedge.inference.tensors import SharedTensors

if TYPE_CHECKING:
    from collections.abc import Callable

    from maskedge.inference.network import Network

LOAD, INVOKE, DONE, FAILED = b"L", b"I", b"K", b"E"
MAX_MESSAGE = 65_536
GREY = 128


def main(setup: dict[str, Any]) -> None:
    """Serve requests until the parent closes its end.

    Args:
        setup: ``socket`` and ``lifeline`` (descriptors), ``runner`` (dotted path of
            ``load(path, device, threads) -> Network``), ``device``, ``threads`` and ``memory``
            (most bytes of address space, or null).
    """
    _isolate(setup["lifeline"], setup["memory"])
    with socket.socket(fileno=setup["socket"]) as channel:
        serve(channel, resolve_name(setup["runner"]), setup["device"], setup["threads"])
    # Without the interpreter's and the driver's clean-up, which may hang or crash as well.
    os._exit(0)


def _isolate(lifeline: int, memory: int | None) -> None:
    """Die with the parent, leave no core file, let Ctrl-C be the parent's affair."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The kernel sends this when the parent's end of the pipe closes: it works even while a
    # driver hangs with Python's lock held or signals blocked, where nothing of ours can run.
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def serve(
    channel: socket.socket,
    load: Callable[[Path, str | None, int], Network],
    device: str | None,
    threads: int,
) -> None:
    """Answer requests until the other end closes."""
    networks: dict[int, tuple[Network, SharedTensors]] = {}
    asked = 0
    while request := channel.recv(MAX_MESSAGE):
        try:
            if request[:1] == LOAD:
                asked += 1
                network = load(Path(json.loads(request[1:])), device, threads)
                memory = os.memfd_create("maskedge", os.MFD_CLOEXEC)
                tensors = SharedTensors(memory, network.input_spec, network.output_specs)
                tensors.picture[:] = GREY
                _run(network, tensors)
                networks[asked - 1] = network, tensors
                specs = [asdict(s) for s in (network.input_spec, *network.output_specs)]
                reply = DONE + json.dumps({"backend": network.backend, "specs": specs}).encode()
                socket.send_fds(channel, [reply], [memory])
                os.close(memory)
            else:
                _run(*networks[request[1]])
                channel.send(DONE)
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent has to know
            kind = "model" if isinstance(error, ModelError) else "accelerator"
            text = json.dumps({"kind": kind, "message": one_line(error)[: MAX_MESSAGE // 8]})
            channel.send(FAILED + text.encode())


def _run(network: Network, tensors: SharedTensors) -> None:
    results = network.invoke(tensors.picture)
    for target, result in zip(tensors.outputs, results, strict=True):
        target[...] = result
