"""Python, packages, interpreter and networks: what was installed."""

from __future__ import annotations

import importlib
import importlib.util
import platform
import re
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from maskedge import paths
from maskedge.doctor.finding import Check, Finding, Place, split
from maskedge.errors import MaskedgeError
from maskedge.health.faults import ModelsRefused

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from maskedge.models.store import Folders

OLDEST = (3, 11)
MACHINES = {"aarch64", "arm64", "x86_64"}
MODULES = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "opencv-python-headless": "cv2",
    "paho-mqtt": "paho.mqtt.client",
    "pyyaml": "yaml",
}
"""Modules that are called otherwise than their distribution."""
RIVALS = {
    "cv2": ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "ai_edge_litert.interpreter": ("tflite-runtime",),
}
"""Distributions that may stand for the one that is asked for."""
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*(?:>=\s*([0-9.]+))?")


def version(text: str) -> tuple[int, ...]:
    """The numbers that a version begins with: ``2.14.0rc1`` is (2, 14, 0)."""
    found = re.match(r"\d+(\.\d+)*", text)
    return tuple(map(int, found[0].split("."))) if found else ()


def installed(distribution: str) -> str | None:
    """The version of a distribution; None: it isn't there."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


class Python(Check):
    """New enough, and 64 bits."""

    name = "python"

    def run(self, place: Place) -> Iterable[Finding]:  # noqa: ARG002, D102
        bits = 64 if sys.maxsize > 2**32 else 32
        said = f"{platform.python_version()}, {bits} bits, {platform.machine()}, in {sys.prefix}"
        if sys.version_info[:2] < OLDEST:
            yield self.fail(said, "use Python 3.11 or newer: Raspberry Pi OS Bookworm has it")
        elif bits != 64 or platform.machine() not in MACHINES:  # noqa: PLR2004
            yield self.fail(
                f"{said}: the packages exist for 64-bit ARM and x86 only",
                "install the 64-bit Raspberry Pi OS",
            )
        else:
            yield self.ok(said)


class Packages(Check):
    """What pip was asked to install is there, new enough, and can be imported."""

    name = "packages"
    deadline = 120.0
    child = True
    crash = "a package made for another processor? Make the virtual environment anew"

    def run(self, place: Place) -> Iterable[Finding]:  # noqa: ARG002, D102
        try:
            wanted = metadata.requires("maskedge") or []
        except metadata.PackageNotFoundError:
            yield self.fail("maskedge isn't installed", "pip install . in its folder")
            return
        found, good = [], True
        for requirement in wanted:
            if "extra ==" in requirement:
                continue
            parts = _REQUIREMENT.match(requirement)
            if parts is None:
                continue
            problem, name = self._look(parts[1].lower(), parts[2] or "0")
            found.append(name)
            if problem is not None:
                good = False
                yield problem
        if good:
            yield self.ok(", ".join(found))
        yield from self._rivals()

    def _look(self, wanted: str, least: str) -> tuple[Finding | None, str]:
        module = MODULES.get(wanted, wanted)
        candidates = (wanted, *RIVALS.get(module, ()))
        name = next((one for one in candidates if installed(one)), None)
        if name is None:
            return self.fail(f"{wanted} is missing", f"pip install '{wanted}>={least}'"), wanted
        has = installed(name) or ""
        if name == wanted and version(has) < version(least):
            cure = f"pip install --upgrade '{wanted}>={least}'"
            return self.fail(f"{name} {has} is too old, {least} is needed", cure), name
        if name == "tflite-runtime":
            module = "tflite_runtime.interpreter"
        try:
            importlib.import_module(module)
        except Exception as error:  # noqa: BLE001 - whatever a broken package raises
            why = f"{name} {has} can't be imported ({type(error).__name__}: {error})"
            return self.fail(why, f"pip install --force-reinstall {name}"), name
        return None, f"{name} {has}"

    def _rivals(self) -> Iterator[Finding]:
        both = [one for one in ("opencv-python-headless", *RIVALS["cv2"]) if installed(one)]
        if len(both) > 1:
            yield self.warn(
                f"{' and '.join(both)} overwrite each other's cv2",
                f"pip uninstall {' '.join(both)}; pip install opencv-python-headless",
            )


class Interpreter(Check):
    """Which TFLite interpreter runs the networks, and whether it fits numpy."""

    name = "interpreter"
    deadline = 60.0
    child = True
    crash = "pip install --force-reinstall 'ai-edge-litert>=2'"

    def run(self, place: Place) -> Iterable[Finding]:  # noqa: ARG002, D102
        from maskedge.inference.runtime import NUMPY_CURE, find_runtime

        try:
            name = find_runtime().name
        except MaskedgeError as error:
            message, _, cure = str(error).partition("; ")
            yield self.fail(message, cure)
            return
        numpy, cv2 = installed("numpy") or "0", installed("opencv-python-headless") or "0"
        if name == "tflite_runtime" and version(numpy) >= (2,):
            yield self.fail(f"tflite-runtime can't work with numpy {numpy}", NUMPY_CURE)
        elif name == "tflite_runtime" and version(cv2) >= (4, 12):
            yield self.fail(
                f"opencv-python-headless {cv2} wants numpy 2, tflite-runtime wants numpy 1",
                NUMPY_CURE,
            )
        else:
            package = {"litert": "ai-edge-litert"}.get(name, "tflite-runtime")
            yield self.ok(f"{package} {installed(package) or ''}, numpy {numpy}")


class Pycoral(Check):
    """PyPI's package of that name is a map of coral reefs, not Google's."""

    name = "pycoral"

    def run(self, place: Place) -> Iterable[Finding]:  # noqa: ARG002, D102
        found = importlib.util.find_spec("pycoral")
        folders = [] if found is None else found.submodule_search_locations or []
        if found is None:
            yield self.ok("not installed, and not needed")
        elif any((Path(folder) / "utils/edgetpu.py").exists() for folder in folders):
            yield self.ok("Google's")
        else:
            yield self.warn(
                "pycoral is PyPI's package of that name (maps of coral reefs), not Google's",
                "pip uninstall pycoral; the Edge TPU needs only libedgetpu and ai-edge-litert",
            )


class Networks(Check):
    """The networks' files have their SHA-256, load and run."""

    name = "networks"
    deadline = 120.0
    child = True
    settings = True
    crash = "pip install --force-reinstall 'ai-edge-litert>=2'"

    def run(self, place: Place) -> Iterable[Finding]:  # noqa: D102
        try:
            yield from self._shipped()
            yield from self._chosen(place, (yield from self._in_force(place)))
        except MaskedgeError as error:
            yield self.fail(*split(str(error)))

    def _shipped(self) -> Iterator[Finding]:
        from maskedge.modelfile import ModelFile, models_dir

        cards = sorted(models_dir().glob("*.json"))
        for card in cards:
            ModelFile.load(card.with_suffix(".tflite"))
        yield self.ok(f"{len(cards)} files in {models_dir()} have the SHA-256 that they should")

    def _in_force(self, place: Place) -> Generator[Finding, None, Folders]:
        """What is installed; and where networks lie that the daemon would start with."""
        from maskedge.models.store import ROLES, Store

        store = Store(paths.models_store(place.environ, place.root))
        try:
            current, folders = store.state().current, store.folders()
        except MaskedgeError as error:
            yield self.fail(*split(str(error)), ModelsRefused)
            return next(store.fallbacks())
        for role in ROLES:
            if name := current.of(role):
                when = str(store.origin(name).get("installed_at", "at an unknown time"))[:10]
                yield self.ok(f"{role}: installed {when} ({store.sets / name})")
        return folders

    def _chosen(self, place: Place, folders: Folders) -> Iterator[Finding]:
        import numpy as np

        from maskedge.camera.frame import ChannelOrder, Frame
        from maskedge.geometry import Box
        from maskedge.vision.faces import View, open_detector
        from maskedge.vision.masks import open_classifier

        config = place.config
        cpu = config.inference.model_copy(update={"accelerator": "cpu"})
        view = View.of(config)
        detector = open_detector(config.detector, cpu, folders.detector, view)
        classifier = open_classifier(config.classifier, cpu, folders.classifier)
        grey = np.full((view.height, view.width, 3), 90, np.uint8)
        frame = Frame(grey, ChannelOrder.RGB, 0.0, 0)
        took = {}
        for name, look in (
            ("detector", lambda: detector.detect(frame)),
            ("classifier", lambda: classifier.classify(frame, [Box(200, 100, 300, 220)])),
        ):
            look()
            began = time.perf_counter()
            look()
            took[name] = (time.perf_counter() - began) * 1000
        for role, model in (("detector", detector.model), ("classifier", classifier.model)):
            if model.card:
                what = f"{model.path.name}, SHA-256 {model.fingerprint}"
                yield self.ok(f"{role}: {what}, {took[role]:.1f} ms on the CPU")
            else:
                yield self.warn(
                    f"{role}: {model.path} runs ({took[role]:.1f} ms), but no .json beside it says "
                    "what its SHA-256 should be",
                    "put the .json beside it that python -m convert writes",
                )
