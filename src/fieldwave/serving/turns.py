"""Who is next on the device: one after the other, in rotation between clients."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from queue import SimpleQueue
from typing import Generic, TypeVar

__all__ = ["Turns"]

_T = TypeVar("_T")


class Turns(Generic[_T]):
    """A queue with one taker, fair between clients.

    The first of each client's items come in rotation (round robin, as in fair queueing: Nagle, RFC 970), so that a
    client with one item waits for one of each other client at the most, however many these have put. Between the
    items of one client, who came first is served first.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._before: deque[_T] = deque()
        self._queues: OrderedDict[str, deque[_T]] = OrderedDict()  # the client whose turn it is first
        self._put: SimpleQueue[None] = SimpleQueue()

    def put(self, item: _T, client: str) -> None:
        """Let ``item`` of ``client`` wait for its turn."""
        with self._lock:
            self._queues.setdefault(client, deque()).append(item)
        self._put.put(None)

    def put_first(self, item: _T) -> None:
        """Let ``item`` wait before all clients."""
        with self._lock:
            self._before.append(item)
        self._put.put(None)

    def take(self) -> _T:
        """The next item; waits for one."""
        while True:
            self._put.get()
            with self._lock:
                if self._before:
                    return self._before.popleft()
                if not self._queues:
                    continue  # what was put has been removed
                client, items = next(iter(self._queues.items()))
                item = items.popleft()
                if items:
                    self._queues.move_to_end(client)
                else:
                    del self._queues[client]
                return item

    def remove(self, item: _T, client: str) -> bool:
        """Take ``item`` of ``client`` out of turn; False if it does not wait any more."""
        with self._lock:
            items = self._queues.get(client)
            if items is None or item not in items:
                return False
            items.remove(item)
            if not items:
                del self._queues[client]
            return True

    def waiting(self) -> list[tuple[str, _T]]:
        """What clients have put and not got."""
        with self._lock:
            return [(client, item) for client, items in self._queues.items() for item in items]

    def clear(self) -> list[_T]:
        """Take all that clients have put."""
        with self._lock:
            items = [item for queue in self._queues.values() for item in queue]
            self._queues.clear()
            return items

    def __len__(self) -> int:
        with self._lock:
            return sum(map(len, self._queues.values()))
