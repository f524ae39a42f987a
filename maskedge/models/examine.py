"""Is a network fit to be installed? Every check, one finding each, the file run in a child process.

A file that crashes or hangs the interpreter, or wants all memory, ends that child only.
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from typing import TYPE_CHECKING, Literal, NamedTuple

from maskedge.errors import MaskedgeError, ModelError
from maskedge.inference.flatbuffer import Graph, listed, load
from maskedge.inference.preflight import CUSTOM_OP, check
from maskedge.inference.trial import TIMEOUT, TrialNetwork
from maskedge.modelfile import ModelFile
from maskedge.models import golden
from maskedge.models.card import ClassifierCard, parse
from maskedge.models.parcel import STEMS
from maskedge.vision.builtin import BuiltinDetector, Source
from maskedge.vision.inputs import shipped
from maskedge.vision.masks import NetworkMaskClassifier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from maskedge.config import Config
    from maskedge.inference.flatbuffer import Tensor
    from maskedge.models.card import Card, DetectorCard
    from maskedge.models.parcel import Item

    Say = Callable[[str, "Status", str], "Finding"]

Status = Literal["ok", "warn", "fail"]
OUTPUT_DTYPES = ("uint8", "int8", "float32")
WEIGHTS = 256
"""Bytes from which a constant is weights; what depends on the input's size is smaller."""


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        network: which file.
        check: ``file``, ``description``, ``tensors``, ``pictures``, ``edgetpu`` or ``family``.
        status: ``fail``: it must not be installed.
        message: what was seen, and the cure where something is wrong.
    """

    network: str
    check: str
    status: Status
    message: str


def examine(item: Item, accelerator: str, timeout: float = TIMEOUT) -> Iterator[Finding]:
    """Look at one network; what can't even be run isn't looked at further.

    Args:
        item: the network.
        accelerator: ``inference.accelerator``: with ``edgetpu``, breaking its rules is a failure.
        timeout: seconds that its start and each of its runs may take.

    Raises:
        AcceleratorError: no interpreter works here.
    """

    def say(about: str, status: Status, message: str) -> Finding:
        return Finding(item.shown, about, status, message.replace(str(item.path), item.shown))

    try:
        model, graph = ModelFile.load(item.path), load(item.path)
    except ModelError as error:
        yield say("file", "fail", str(error))
        return
    card, mistakes = parse(model.card)
    if card is None:
        described = item.path.with_suffix(".json")
        if not model.card:
            mistakes = [f"{described} isn't there; python -m convert writes it beside the network"]
        yield say("description", "fail", f"{described.name}: {'; '.join(mistakes)}")
        return
    yield say("file", "ok", f"SHA-256 {model.fingerprint}, as its description says")
    try:
        yield say("description", "ok", f"{card.task}, {card.network}")
        with closing(TrialNetwork(item.path, timeout=timeout)) as network:
            yield from _run(model, card, network, say)
    except ModelError as error:
        yield say("tensors", "fail", str(error))
        return
    yield from _edge_tpu(item, graph, accelerator, say)


def _run(model: ModelFile, card: Card, network: TrialNetwork, say: Say) -> Iterator[Finding]:
    """Load it as the daemon does, and show it the golden pictures."""
    part = _opened(model, card, network)
    outputs = ", ".join(f"{spec.dtype} {spec.shape}" for spec in network.output_specs)
    picture = network.input_spec
    yield say("tensors", "ok", f"{picture.dtype} {picture.shape} in, {outputs} out")
    if isinstance(part, NetworkMaskClassifier):
        logits = golden.classifier_answers(part)
        answer = golden.judge_classifier(logits)
    else:
        boxes = golden.detector_answers(part)
        answer = golden.judge_detector(boxes)
    if not answer.good:
        yield say("pictures", "fail", answer.message)
        return
    recorded = card.golden
    if recorded is None or recorded.pictures != golden.PICTURES:
        yield say("pictures", "ok", f"{answer.message}; no answers are recorded to compare with")
        return
    try:
        if isinstance(part, NetworkMaskClassifier):
            scale = network.output_specs[0].scale
            differences = list(golden.classifier_differences(logits, recorded.answers, scale))
        else:
            differences = list(golden.detector_differences(boxes, recorded.answers))
    except (TypeError, ValueError, IndexError) as error:
        differences = [f"the recorded ones can't be read ({error})"]
    if differences:
        more = f", and {len(differences) - 1} more" if len(differences) > 1 else ""
        message = f"it answers otherwise than where it was made: {differences[0]}{more}"
        yield say("pictures", "fail", message)
    else:
        yield say("pictures", "ok", f"{answer.message}, with the answers recorded when it was made")


def _opened(
    model: ModelFile, card: Card, network: TrialNetwork
) -> NetworkMaskClassifier | BuiltinDetector:
    """As the daemon opens it; and as its description says.

    Raises:
        ModelError: it isn't the network of its description, or none for the daemon.
    """
    for spec in network.output_specs:
        if spec.dtype not in OUTPUT_DTYPES or (spec.dtype != "float32" and spec.scale <= 0):
            raise ModelError(
                f"{model.path}: its output {spec.name} is {spec.dtype} with scale {spec.scale:g}; "
                "convert it with python -m convert"
            )
    part: NetworkMaskClassifier | BuiltinDetector
    if isinstance(card, ClassifierCard):
        part = NetworkMaskClassifier(model, network)
        described = card.input.size, card.input.size
    else:
        part = BuiltinDetector([Source.of(network)], model)
        described = card.input.width, card.input.height
        _require_known(model.path, card)
    height, width = network.input_spec.shape[1:3]
    if described != (width, height):
        raise ModelError(
            f"{model.path}: takes {width}x{height} pixels, its description says "
            f"{described[0]}x{described[1]}: they don't belong together"
        )
    return part


def stem_of(card: Card) -> str:
    """The name under which the daemon looks for such a network."""
    if isinstance(card, ClassifierCard):
        return STEMS["classifier"][0]
    return f"face_detector_{card.input.width}x{card.input.height}"


def _require_known(path: Path, card: DetectorCard) -> None:
    if stem_of(card) not in STEMS["detector"]:
        sizes = ", ".join(stem.removeprefix("face_detector_") for stem in STEMS["detector"])
        raise ModelError(
            f"{path}: a detector for {card.input.width}x{card.input.height} pixels has no use; "
            f"export it for {sizes}"
        )


def _edge_tpu(item: Item, graph: Graph, accelerator: str, say: Say) -> Iterator[Finding]:
    """The rules, and whether the compiled form belongs to this network."""
    wanted = accelerator == "edgetpu"
    broken = [violation for violation in check(graph) if violation.fatal]
    if item.compiled is not None:
        wrong = _compiled_wrong(item.compiled, graph)
        if wrong:
            yield say("edgetpu", "fail", f"{item.compiled.name}: {wrong}")
        else:
            yield say("edgetpu", "ok", f"{item.compiled.name} has the same tensors")
    elif broken:
        more = f", and {len(broken) - 1} more" if len(broken) > 1 else ""
        message = f"the Edge TPU can't run all of it: {broken[0]}{more}"
        yield say("edgetpu", "fail" if wanted else "warn", message)
    elif wanted:
        message = "it isn't compiled, so the CPU runs it: python -m convert compile"
        yield say("edgetpu", "warn", message)
    else:
        yield say("edgetpu", "ok", "keeps the Edge TPU's rules; not compiled")


def _compiled_wrong(path: Path, graph: Graph) -> str:
    try:
        compiled = load(path)
    except MaskedgeError as error:
        return str(error)
    if not any(operation.name == CUSTOM_OP for operation in compiled.operations):
        return "isn't compiled for the Edge TPU: python -m convert compile"
    if _signature(compiled) != _signature(graph):
        return "is another network's: compile this one again with python -m convert compile"
    return ""


def _signature(graph: Graph) -> list[object]:
    return [_tensor(tensor) for tensor in (*graph.inputs, *graph.outputs)]


def _tensor(tensor: Tensor) -> object:
    quantization = tensor.raw.quantization
    scales = listed(None if quantization is None else quantization.scale)
    zeros = listed(None if quantization is None else quantization.zeroPoint)
    return tensor.shape, tensor.dtype, [round(float(s), 9) for s in scales], [int(z) for z in zeros]


def examine_family(items: Sequence[Item], config: Config) -> Iterator[Finding]:
    """Whether detectors that are fit alone are fit as one: sizes of one training, and enough.

    Args:
        items: all detectors that shall be in force, each described rightly.
        config: says which size it needs.
    """
    models = {item.path.stem: ModelFile.load(item.path) for item in items}
    shown = ", ".join(sorted(models))
    weights = {_weights(item.path) for item in items}
    calibrations = {repr(sorted(model.card["calibration"].items())) for model in models.values()}
    if len(weights) > 1 or len(calibrations) > 1:
        what = "weights" if len(weights) > 1 else "calibration"
        message = f"they differ in {what}: install the sizes of one training together"
        yield Finding(shown, "family", "fail", message)
        return
    needed = [size.stem for size in shipped(config.detector.input)]
    if config.detector.kind != "builtin" or config.detector.model is not None:
        return
    if needed[0] not in models:
        message = f"detector.input: {config.detector.input} needs {needed[0]}; install it with them"
        yield Finding(shown, "family", "fail", message)
    elif missing := [name for name in needed if name not in models]:
        message = f"without {', '.join(missing)} some frames cost more, or lose small faces"
        yield Finding(shown, "family", "warn", message)
    else:
        yield Finding(shown, "family", "ok", f"sizes of one training, {len(models)}")


def _weights(path: Path) -> str:
    """A digest of everything learnt, which doesn't depend on the input's size."""
    found = {
        hashlib.sha256(tensor.values).digest()
        for operation in load(path).operations
        for tensor in operation.inputs
        if tensor is not None and len(tensor.values) >= WEIGHTS
    }
    return hashlib.sha256(b"".join(sorted(found))).hexdigest()
