"""An executor that waits for the test."""

import asyncio
from collections.abc import Sequence

from bot.models.reference import ModelReference
from charrnn.errors import ModelError
from charrnn.generation import Generated, Prompt


class Gate:
    """An executor that writes once it is open, and notes each batch."""

    def __init__(self, workers: int = 1):
        self.workers = workers
        self.open = asyncio.Event()
        self.batches: list[list[str]] = []

    async def write(self, model: ModelReference, prompts: Sequence[Prompt]) -> list[Generated]:
        self.batches.append([prompt.seed for prompt in prompts])
        await self.open.wait()
        if any(prompt.seed == "broken" for prompt in prompts):
            raise ModelError("The model is broken.")
        return [Generated(f"{prompt.seed} by {model.name}", "") for prompt in prompts]
