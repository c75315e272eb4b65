"""Servers take turns: requests -> fair batches."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from bot.models.reference import ModelReference

# Texts of one server in a batch. More would hardly be faster, and a server that comes while the
# batch is written would wait longer.
SERVER_LIMIT = 8

Request = TypeVar("Request")


@dataclass(frozen=True)
class Batch(Generic[Request]):
    """Requests to write together."""

    model: ModelReference
    requests: list[Request]
    servers: list[int]


class Turns(Generic[Request]):
    """Requests that wait, by server.

    The next batch is for the model that the next server wants, and for all servers that want it
    next: one request of each, and again, until one of them has no more. So a server with one
    request never waits until many of another are written."""

    def __init__(self, batch_limit: int):
        self._batch_limit = batch_limit
        # The server whose turn is next comes first. Empty queues are removed.
        self._queues: dict[int, deque[tuple[ModelReference, Request]]] = {}
        # The same servers in the same order, by the model of their next request.
        self._servers: dict[ModelReference, dict[int, None]] = {}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Request]:
        return (request for queue in self._queues.values() for _, request in queue)

    @property
    def servers(self) -> int:
        """How many servers have requests."""
        return len(self._queues)

    def of(self, server: int) -> Sequence[tuple[ModelReference, Request]]:
        """The server's requests, each with its model."""
        return self._queues.get(server, ())

    def outline(self) -> "Turns[None]":
        """A copy without the requests themselves, to see what the next batches would be."""
        outline: Turns[None] = Turns(self._batch_limit)
        for server, queue in self._queues.items():
            for model, _ in queue:
                outline.add(server, model, None)
        return outline

    def add(self, server: int, model: ModelReference, request: Request) -> None:
        self._length += 1
        if server in self._queues:
            self._queues[server].append((model, request))
        else:
            self._insert(server, deque([(model, request)]))

    def take(self) -> Batch[Request]:
        """Remove the next batch. At least one request must wait."""
        [(model, _), *_] = next(iter(self._queues.values()))
        servers = list(islice(self._servers[model], self._batch_limit))
        requests: list[Request] = []
        for _ in range(min(SERVER_LIMIT, self._batch_limit // len(servers))):
            requests += map(self._pop, servers)
            if not self._servers.get(model, {}).keys() >= set(servers):
                break
        return Batch(model, requests, servers)

    def clear(self) -> None:
        self._queues.clear()
        self._servers.clear()
        self._length = 0

    def written(self, servers: Iterable[int]) -> None:
        """Put the servers of a batch behind those that came while it was written."""
        for server in servers:
            if server in self._queues:
                self._insert(server, self._remove(server))

    def _pop(self, server: int) -> Request:
        queue = self._remove(server)
        _, request = queue.popleft()
        self._length -= 1
        if queue:
            self._insert(server, queue)
        return request

    def _insert(self, server: int, queue: deque[tuple[ModelReference, Request]]) -> None:
        self._queues[server] = queue
        self._servers.setdefault(queue[0][0], {})[server] = None

    def _remove(self, server: int) -> deque[tuple[ModelReference, Request]]:
        queue = self._queues.pop(server)
        model, _ = queue[0]
        del self._servers[model][server]
        if not self._servers[model]:
            del self._servers[model]
        return queue
