"""What is shipped, installed and in force, with what each network's description tells."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from maskedge.errors import MaskedgeError
from maskedge.inference.flatbuffer import load
from maskedge.modelfile import ModelFile
from maskedge.models.parcel import Item, of_role
from maskedge.models.store import ROLES, SHIPPED, Choice, Role, Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maskedge.config import Config
    from maskedge.inference.flatbuffer import Tensor

Shape = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One network.

    Attributes:
        role: detector or classifier.
        name: the file's.
        state: ``in force``; ``before``: what a rollback puts in force; ``shipped``: neither; or
            ``configured``: the configuration names this file, whatever is installed.
        origin: ``shipped``, ``installed`` or ``configuration``.
        set: the set's name; None: not of a set.
        path: the file.
        sha256: its digest; empty when it can't be read.
        inputs, outputs: shape and dtype of each.
        created: when the network was made, if its description tells.
        installed_at: when it was installed.
        installed_from: what was given then.
        figures: headline figures of its description, in words.
        edgetpu: the compiled form's file name; None: there is none.
        problem: why it can't be used; empty.
    """

    role: Role
    name: str
    state: str
    origin: str
    set: str | None
    path: str
    sha256: str
    inputs: list[Shape]
    outputs: list[Shape]
    created: str | None
    installed_at: str | None
    installed_from: list[str]
    figures: str
    edgetpu: str | None
    problem: str

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


def rows(store: Store, config: Config) -> Iterator[Row]:
    """Every network that a person may ask for, the detectors first.

    Raises:
        ModelError: the store's pointer is damaged.
    """
    state = store.state()
    for role in ROLES:
        named = config.detector.model if role == "detector" else config.classifier.model
        if named is not None:
            yield _row(role, Item.at(named), "configured", None, {})
        seen = set()
        before = state.previous or SHIPPED
        for choice, call in ((state.current, "in force"), (before, "before"), (SHIPPED, "shipped")):
            name = choice.of(role)
            if name not in seen:
                seen.add(name)
                origin = {} if name is None else store.origin(name)
                called = "not in use" if call == "in force" and named is not None else call
                only = Choice(**{role: name})
                for item in of_role(store.folders(only), role):
                    yield _row(role, item, called, name, origin)


def _row(role: Role, item: Item, state: str, name: str | None, origin: dict[str, Any]) -> Row:
    sha256, card, problem = "", {}, ""
    inputs: list[Shape] = []
    outputs: list[Shape] = []
    try:
        model = ModelFile.load(item.path)
        sha256, card = model.sha256, model.card
        if item.path.suffix == ".tflite":
            graph = load(item.path)
            inputs, outputs = ([_shape(t) for t in part] for part in (graph.inputs, graph.outputs))
    except MaskedgeError as error:
        problem = str(error)
    source = (
        "configuration" if state == "configured" else "shipped" if name is None else "installed"
    )
    created = card.get("created")
    return Row(
        role=role,
        name=item.path.name,
        state=state,
        origin=source,
        set=name,
        path=str(item.path),
        sha256=sha256,
        inputs=inputs,
        outputs=outputs,
        created=created if isinstance(created, str) else None,
        installed_at=origin.get("installed_at"),
        installed_from=origin.get("from", []),
        figures=headline(card),
        edgetpu=None if item.compiled is None else item.compiled.name,
        problem=problem,
    )


def _shape(tensor: Tensor) -> Shape:
    return {"shape": list(tensor.shape), "dtype": tensor.dtype}


def headline(card: dict[str, Any]) -> str:
    """The figures that a description gives of the network itself, in a few words."""
    metrics = card.get("metrics")
    if not isinstance(metrics, dict):
        return ""
    try:
        if card.get("task") == "classifier":
            figures = metrics["int8"]
            recalls = [part["recall"] for part in figures["by_label"].values()]
            return f"recall {'/'.join(f'{r:.3f}' for r in recalls)} of {figures['faces']} faces"
        part = metrics.get("val") or metrics["held_out"]
        loose = part["at_iou_0.3"]
        return f"AP {loose['ap']:.3f} (overlap 0.3) of {part['faces']} faces"
    except (KeyError, TypeError, ValueError, AttributeError):
        return ""
