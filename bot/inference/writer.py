"""A model and a seed -> the reply that people see."""

import secrets

from bot.inference.queue import GenerationRequest, Inference
from bot.interactions.reply import Reply, as_shown
from bot.models.reference import ModelReference
from bot.models.server_models import ServerModels
from charrnn.generation import Prompt
from charrnn.sampling import Sampling

LENGTH = 500  # characters of one reply
MAX_RANDOM_SEED = 2**31 - 1


class Writer:
    """Writes every text that people ask for, wherever they ask."""

    def __init__(self, inference: Inference, models: ServerModels):
        self._inference = inference
        self._models = models

    async def write(
        self,
        model: ModelReference,
        seed: str,
        temperature: float,
        random_seed: int | None = None,  # None: any
        *,
        guild_id: int | None,  # noqa: ARG002 - the server, if it has invited the bot
        turn_of: int,  # who takes turns in the queue: a server, or a user in private messages
    ) -> Reply:
        """Raises BotError when the text cannot be written now."""
        if random_seed is None:
            random_seed = secrets.randbelow(MAX_RANDOM_SEED + 1)
        # Use exactly the values that the reply shows: buttons read them from it.
        seed, temperature = as_shown(seed), round(temperature, 2)
        prompt = Prompt(seed, LENGTH, Sampling(temperature), random_seed)
        with self._models.explaining(model.name, model.folder):
            generated = await self._inference.generate(GenerationRequest(model, prompt, turn_of))
        return Reply(seed, generated.text, model.name, temperature, random_seed, generated.dropped)
