"""How many requests are in hand, and whose: the bounded queue before the device."""

from __future__ import annotations

import threading
from collections.abc import Callable

from fieldwave.serving.caller import Caller
from fieldwave.serving.status import BusyError

__all__ = ["Place", "Places"]


class Place:
    """One request in hand; it is the `Caller` that the device knows.

    Attributes:
        client: who called; see `Caller`.
        lost: whether another client has been given the place.
    """

    def __init__(self, caller: Caller) -> None:
        self.client = caller.client
        self.lost = False
        self._caller = caller

    def is_active(self) -> bool:
        return not self.lost and self._caller.is_active()

    def time_remaining(self) -> float | None:
        return self._caller.time_remaining()


class Places:
    """At most ``capacity`` requests are in hand; whoever comes then is refused, and waits for nothing.

    Unless somebody else has more than his share: a newcomer is given the place of the latest request of the client
    that has most, if that client keeps no fewer than the newcomer has then ("longest queue drop"). So a client
    that sends one request at a time is served beside others that send as fast as they can.

    Parameters:
        capacity: the most requests in hand.

    Attributes:
        taken: called with a place that has been taken away, so that nobody waits for it.
    """

    def __init__(self, capacity: int, taken: Callable[[Place], None] = lambda place: None) -> None:
        self.capacity = capacity
        self.taken = taken
        self._lock = threading.Lock()
        self._held: dict[str, list[Place]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def check(self, caller: Caller) -> None:
        """Refuse a request that there is no place for, before it has been received.

        Raises:
            BusyError: there is none.
        """
        if self._count >= self.capacity:
            with self._lock:
                if self._count >= self.capacity:
                    self._greediest(caller.client)

    def enter(self, caller: Caller) -> Place:
        """A place for the request of ``caller``; `leave` it.

        Raises:
            BusyError: there is none.
        """
        place, taken = Place(caller), None
        with self._lock:
            if self._count >= self.capacity:
                taken = self._take_for(caller.client)
            self._held.setdefault(place.client, []).append(place)
            self._count += 1
        if taken is not None:
            self.taken(taken)
        return place

    def leave(self, place: Place) -> None:
        """The request of ``place`` has been answered."""
        with self._lock:
            if not place.lost:
                self._remove(place)

    def busy(self) -> BusyError:
        """What a request without a place is told."""
        return BusyError(f"{self.capacity} predictions are in hand, no more are taken; try again later")

    def _greediest(self, client: str) -> list[Place]:
        """The places of whoever has more than his share beside ``client``."""
        greediest = max(self._held.values(), key=len)
        if len(greediest) - 1 < len(self._held.get(client, ())) + 1:
            raise self.busy()
        return greediest

    def _take_for(self, client: str) -> Place:
        place = self._greediest(client)[-1]
        place.lost = True
        self._remove(place)
        return place

    def _remove(self, place: Place) -> None:
        places = self._held[place.client]
        places.remove(place)
        if not places:
            del self._held[place.client]
        self._count -= 1
