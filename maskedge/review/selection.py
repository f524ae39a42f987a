"""Which faces to keep when there is room for few: variety, not the first nor the last that came.

Every face has a kind: how doubtful it is, what it was taken for, and the part of the day. While
there is room all are taken. Then a face of a kind of which there is less than of others replaces
one of the commonest kind; within the commonest kinds every face that ever came is kept with the
same probability (Vitter's algorithm R, "Random sampling with a reservoir", 1985). Of faces that
look nearly alike, such as one poster on the wall day after day, there are never more than
:data:`ALIKE`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import random
    from collections.abc import Hashable, Iterable

ALIKE = 2
"""Most faces kept that look nearly the same."""
NEAR = 8
"""Bits of 64 in which the hashes of two such faces differ at most: as those of half of the faces do
that are seen again in a slightly other box, and of nine in 100,000 pairs of different ones
(benchmarks/review_set.py)."""
SURPLUS = 0.05
"""Doubt by which a face must exceed one that looks like it, to replace it."""


class Candidate(NamedTuple):
    """What the choice looks at.

    Attributes:
        name: unique.
        kind: faces of one kind stand for each other.
        likeness: 64-bit hash of its look.
        doubt: 0..1.
        bytes: that it takes up.
        fixed: never to be replaced, as a person has labelled it.
    """

    name: str
    kind: Hashable
    likeness: int
    doubt: float
    bytes: int = 0
    fixed: bool = False


@dataclass
class Selection:
    """The faces kept, within bounds that are never exceeded.

    Attributes:
        max_number: most faces.
        max_bytes: most bytes that they take up together.
        chance: decides between faces that are alike in everything that counts.
    """

    max_number: int
    max_bytes: int
    chance: random.Random
    _kept: dict[str, Candidate] = field(default_factory=dict)
    _came: Counter[Hashable] = field(default_factory=Counter)

    @property
    def kept(self) -> list[Candidate]:
        """The faces kept, in the order in which they came."""
        return list(self._kept.values())

    def restore(self, candidates: Iterable[Candidate]) -> list[str]:
        """Take over what is there, whoever changed it; how many ever came stays known.

        Returns:
            Names given up because they exceed the bounds, such as after a reload. The commonest
            kinds go first, and labelled faces only when nothing else is left.
        """
        self._kept = {candidate.name: candidate for candidate in candidates}
        for kind, number in Counter(c.kind for c in self._kept.values()).items():
            self._came[kind] = max(self._came[kind], number)
        over = self._surplus({}, 0, 0, spare_fixed=False) or []
        for name in over:
            del self._kept[name]
        return over

    def offer(self, new: Candidate) -> list[str] | None:
        """Take a face in, if it is wanted.

        Returns:
            The names of those that it replaces, which are given up; None: it isn't wanted.
        """
        self._came[new.kind] += 1
        alike = [c for c in self._kept.values() if (c.likeness ^ new.likeness).bit_count() <= NEAR]
        rival = None
        if len(alike) >= ALIKE:
            rival = self._paler(new, alike)
        elif not self._fits(new):
            rival = self._rival(new)
        else:
            self._kept[new.name] = new
            return []
        if rival is None:
            return None
        gone = self._surplus({rival.name: rival}, 1, new.bytes, spare_fixed=True)
        if gone is None:
            return None
        for name in gone:
            del self._kept[name]
        self._kept[new.name] = new
        return gone

    def drop(self, name: str) -> None:
        """Give up a face."""
        self._kept.pop(name, None)

    def _fits(self, new: Candidate) -> bool:
        taken = sum(candidate.bytes for candidate in self._kept.values())
        return len(self._kept) < self.max_number and taken + new.bytes <= self.max_bytes

    def _paler(self, new: Candidate, alike: list[Candidate]) -> Candidate | None:
        """The least doubtful of those that look like ``new``, where it is more doubtful."""
        pale = min((c for c in alike if not c.fixed), key=lambda c: c.doubt, default=None)
        return pale if pale is not None and new.doubt > pale.doubt + SURPLUS else None

    def _rival(self, new: Candidate) -> Candidate | None:
        """The one that ``new`` replaces, by chance, so that kinds become equally many."""
        number = Counter(c.kind for c in self._kept.values())
        free = [c for c in self._kept.values() if not c.fixed]
        most = max((number[c.kind] for c in free), default=0)
        own = number[new.kind]
        # One fewer is as good as equal: else two kinds would take turns for ever.
        if own and own >= most - 1:
            rivals = [c for c in free if c.kind == new.kind]
            wanted = own / self._came[new.kind]
        else:
            rivals = [c for c in free if number[c.kind] == most]
            wanted = 1.0 if own or most > 1 else len(self._kept) / self._came.total()
        if not rivals or self.chance.random() >= wanted:
            return None
        return self.chance.choice(rivals)

    def _surplus(
        self, gone: dict[str, Candidate], number: int, size: int, *, spare_fixed: bool
    ) -> list[str] | None:
        """Whom to give up, besides ``gone``, so that ``number`` more of ``size`` bytes fit.

        None: that can't be, because the others are labelled.
        """
        left = [c for c in self._kept.values() if c.name not in gone]
        taken = sum(c.bytes for c in left)
        names = list(gone)
        kinds = Counter(c.kind for c in left)
        self.chance.shuffle(left)
        while len(left) + number > self.max_number or taken + size > self.max_bytes:
            free = [c for c in left if not c.fixed] or ([] if spare_fixed else left)
            if not free:
                return None
            most = max(free, key=lambda c: kinds[c.kind])
            left.remove(most)
            kinds[most.kind] -= 1
            taken -= most.bytes
            names.append(most.name)
        return names
