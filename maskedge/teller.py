"""Decisions become events, and events enter the outbox before anything else happens to them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from maskedge.events import Votes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maskedge.delivery.outbox import Outbox
    from maskedge.events import EventBuilder, Violation
    from maskedge.people.verdict import Decision

log = logging.getLogger(__name__)


class Teller:
    """Tells of violations, and remembers those that haven't ended.

    Attributes:
        builder: makes the events; another one after a reload, for events from then on.
    """

    def __init__(self, builder: EventBuilder, outbox: Outbox) -> None:
        self.builder = builder
        self._outbox = outbox
        self._open: dict[int, Violation] = {}

    @property
    def standing(self) -> tuple[Violation, ...]:
        """The ``started`` of every violation that hasn't ended."""
        return tuple(self._open.values())

    def tell(self, decisions: Sequence[Decision]) -> list[Violation]:
        """Hand the decisions' events to the outbox, in one transaction; returns them."""
        made = [self._event(decision) for decision in decisions]
        if made:
            self._outbox.submit(*made)
        return made

    def _event(self, decision: Decision) -> Violation:
        if decision.type == "started":
            event = self.builder.started(
                label=decision.label,
                confidence=decision.confidence,
                votes=Votes(decision.frames, decision.agree),
                track_id=decision.track_id,
                box=decision.box,
                first_seen=decision.first_seen,
                decided_at=decision.decided_at,
            )
            self._open[decision.key] = event
        else:
            started = self._open.pop(decision.key)
            ended_at = decision.ended_at or decision.decided_at
            event = self.builder.ended(started, ended_at, decision.box)
        log.info("%s %s, person %d", event.label, event.type, event.track_id)
        return event
