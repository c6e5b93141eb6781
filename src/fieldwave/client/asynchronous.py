"""The client for programs with an event loop."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from fieldwave.client.channels import AWAITING
from fieldwave.client.scoring import Scoring

__all__ = ["AsyncPredictionClient"]


class AsyncPredictionClient(Scoring):
    """`PredictionClient` for asyncio: the same parameters and methods, each to be awaited, ``close`` too.

    ::

        async with AsyncPredictionClient("127.0.0.1", 50051) as client:
            scores = await asyncio.gather(*(client.score_image(image) for image in images))

    A call ends early when its task is cancelled: the service drops it. The connections belong to the event loop in
    which they are first used; a client that is used in another one makes new ones.
    """

    _channels = AWAITING

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
