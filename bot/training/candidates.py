"""What a training has come to: its scores, and what its model writes beside its base."""

import asyncio
import logging

from bot.errors import BotError
from bot.inference.executor import Executor
from bot.models.reference import ModelReference
from bot.storage.records import Scores
from bot.training.process import TrainingOrder
from bot.training.statuses import Sample
from charrnn import store
from charrnn.errors import ModelError
from charrnn.generation import Generated, Prompt

log = logging.getLogger(__name__)

SEEDS = ("hi all", "I think that", "does anyone know")
PATIENCE_S = 60.0
SAMPLE_LENGTH = 140  # characters; three of them, escaped, fit a field of an embed


def measured(order: TrainingOrder) -> tuple[Scores, int]:
    """The scores in the card of a model that a training has made, and its size in bytes. Raises
    ModelError, and LookupError when it has none of these scores."""
    card, _ = store.read_card(order.output)
    losses = [epoch["validation_loss"] for epoch in card.training["history"]]
    scores = Scores(
        nats_before=losses[0],
        nats_after=min(losses),  # the best epoch's is kept
        characters=card.training["characters"],
        longest_copied=card.training["longest_copy"]["found"],
    )
    return scores, sum(path.stat().st_size for path in order.output.iterdir())


async def compare(executor: Executor, order: TrainingOrder) -> tuple[Sample, ...]:
    """What base and new model write after the same words; nothing where `executor` cannot say, or
    not soon, or the base is gone."""
    prompts = [Prompt(seed, SAMPLE_LENGTH, rng_seed=n) for n, seed in enumerate(SEEDS)]
    pairs: list[list[Generated]] = []
    try:
        async with asyncio.timeout(PATIENCE_S):
            for folder in (order.base, order.output):
                model = await asyncio.to_thread(ModelReference.of, folder)
                pairs.append(await executor.write(model, prompts))
    except (BotError, ModelError, TimeoutError) as error:
        log.warning("There are no samples to compare: %r", error)
        return ()
    return tuple(
        Sample(seed, old.text, new.text) for seed, old, new in zip(SEEDS, *pairs, strict=True)
    )
