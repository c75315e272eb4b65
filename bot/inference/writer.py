"""A model and a seed -> the reply that people see."""

import secrets
from dataclasses import replace

from bot.errors import BotError
from bot.inference.queue import GenerationRequest, Inference
from bot.interactions.reply import Reply, as_shown
from bot.models.reference import ModelReference
from bot.models.server_models import ServerModels
from bot.words.lists import NeverSaid
from bot.words.matching import MASK, WordFilter, masked
from charrnn.generation import Generated, Prompt
from charrnn.sampling import Sampling

LENGTH = 500  # characters of one reply
MAX_RANDOM_SEED = 2**31 - 1
REDRAWS = 3  # of a text that has a word that is never said


class Writer:
    """Writes texts, and draws again or masks those with a listed word.

    Such a text is drawn again with the next random seed. If all draws have a listed word, or
    another draw is refused, the first is masked. So the random seed that a reply shows gives it
    again."""

    def __init__(self, inference: Inference, models: ServerModels, never_said: NeverSaid):
        self._inference = inference
        self._models = models
        self._never_said = never_said
        self.redrawn = 0  # texts, since the start
        self.masked = 0

    async def write(
        self,
        model: ModelReference,
        seed: str,
        temperature: float,
        random_seed: int | None = None,  # None: any
        *,
        guild_id: int | None,  # the server, if it has invited the bot
        turn_of: int,  # who takes turns in the queue: a server, or a user in private messages
    ) -> Reply:
        """Raises BotError when the text cannot be written now."""
        never_said = self._never_said.in_server(guild_id)
        if random_seed is None:
            random_seed = secrets.randbelow(MAX_RANDOM_SEED + 1)
        # Use exactly the values that the reply shows: buttons read them from it.
        seed, temperature = never_said.mask(as_shown(seed)), round(temperature, 2)
        prompt = Prompt(seed, LENGTH, Sampling(temperature), random_seed)
        with self._models.explaining(model.name, model.folder):
            generated, used = await self._draw(model, prompt, turn_of, never_said)
        # The model need not know the mask.
        dropped = generated.dropped.replace(MASK, "")
        return Reply(seed, generated.text, model.name, temperature, used, dropped)

    def allowed(self, reply: Reply, *, guild_id: int | None) -> Reply:
        """A reply without what is never said there: it may have been listed since."""
        never_said = self._never_said.in_server(guild_id)
        whole, end_of_seed = never_said.mask(reply.seed + reply.text), len(reply.seed)
        return replace(reply, seed=whole[:end_of_seed], text=whole[end_of_seed:])

    async def _draw(
        self, model: ModelReference, prompt: Prompt, turn_of: int, never_said: WordFilter
    ) -> tuple[Generated, int]:
        """A text that may be shown, and its random seed."""
        draws = 1 + REDRAWS if prompt.sampling.temperature else 1  # at 0 all are the same
        first: Generated | None = None
        for n in range(draws):
            rng_seed = (prompt.rng_seed + n) % (MAX_RANDOM_SEED + 1)
            request = GenerationRequest(model, replace(prompt, rng_seed=rng_seed), turn_of)
            try:
                generated = await self._inference.generate(request)
            except BotError:
                if first is None:
                    raise
                break
            self.redrawn += n > 0
            # The text may complete a word that the seed begins.
            whole, end_of_seed = prompt.seed + generated.text, len(prompt.seed)
            found = [span for span in never_said.find(whole) if span[1] > end_of_seed]
            if not found:
                return generated, rng_seed
            first = first or replace(generated, text=masked(whole, found)[end_of_seed:])
        assert first is not None
        self.masked += 1
        return first, prompt.rng_seed
