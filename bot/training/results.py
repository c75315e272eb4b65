"""What a training produced: scores, and samples beside its base's."""

import asyncio
import logging

from bot.errors import BotError
from bot.inference.executor import Executor
from bot.models.server_models import ServerModels
from bot.storage.records import Sample, Scores, TrainingJob
from bot.training.process import TrainingCommand
from charrnn import store
from charrnn.errors import ModelError
from charrnn.generation import Prompt

log = logging.getLogger(__name__)

SEEDS = ("hi all", "I think that", "does anyone know")
SAMPLES_TIMEOUT_S = 60.0
SAMPLE_LENGTH = 140  # characters; three samples, escaped, fit into one field of an embed


def read_scores(command: TrainingCommand) -> tuple[Scores, int]:
    """The scores in the new model's card, and the model's size in bytes. Raises ModelError, and
    LookupError when the card lacks a score."""
    card, _ = store.read_card(command.output)
    history = card.training["history"]  # first the base, untouched
    kept = history[card.training["best_epoch"]]
    scores = Scores(
        nats_before=history[0]["validation_loss"],
        nats_after=kept["validation_loss"],
        characters=card.training["characters"],
        longest_copied=card.training["longest_copy"]["found"],
        voice=card.training.get("voice"),
        standard_error=kept["standard_error"],
        voice_error=card.training.get("voice_error"),
    )
    return scores, sum(path.stat().st_size for path in command.output.iterdir())


async def write_samples(
    executor: Executor, models: ServerModels, job: TrainingJob
) -> tuple[Sample, ...]:
    """What a job's base and its new model write after the same words. Empty when they cannot be
    written now: a model is useful without samples."""
    prompts = [Prompt(seed, SAMPLE_LENGTH, rng_seed=n) for n, seed in enumerate(SEEDS)]
    try:
        base, new = await models.base(job), await models.own(job.guild_id, job.id)
        async with asyncio.timeout(SAMPLES_TIMEOUT_S):
            before = await executor.write(base, prompts)
            after = await executor.write(new, prompts)
    except (BotError, ModelError, TimeoutError) as error:
        log.warning("There are no samples to compare: %r", error)
        return ()
    written = zip(SEEDS, before, after, strict=True)
    return tuple(Sample(seed, old.text, new.text) for seed, old, new in written)
