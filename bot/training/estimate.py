"""How much of a text a model would learn, and how long the training takes."""

from collections import Counter
from pathlib import Path

from bot.errors import BotError
from bot.storage.records import Speed, TextCounts
from charrnn.errors import CorpusError
from charrnn.store import Card
from charrnn.text.corpus import HELD_OUT_SHARE, trained_on
from charrnn.text.messages import Counts
from charrnn.training.job import check_learnable, learnt_vocabulary, left_out
from charrnn.training.recipes import fine_tuning, least_text

FIRST_GUESS = Speed(1500.0, measuring_s=5.0)  # before a training has been seen
# Starting (TensorFlow, the base, the judge of the voice) and writing the model take about as long
# as measuring this many epochs.
STARTING_AND_WRITING = 4


def examine(text: Path, counts: Counts, card: Card, speed: Speed | None) -> tuple[TextCounts, int]:
    """How much of a text is learnt by the model with `card`, and the seconds that this takes.
    `speed`: of the last training of such a model on this machine. Raises BotError if the text
    cannot be learnt."""
    speed = speed or FIRST_GUESS
    learnt = trained_on(counts.characters, HELD_OUT_SHARE)
    in_learnt, held_out = _characters_of(text, learnt)
    characters = in_learnt + held_out
    known = card.vocabulary.known_share(characters)
    recipe = fine_tuning(card.spec, learnt, known)
    try:
        least_text(known).check(counts.characters, HELD_OUT_SHARE)
        vocabulary = learnt_vocabulary(in_learnt, recipe, card)
        check_learnable(vocabulary, card.spec.window, in_learnt, held_out)
    except CorpusError as error:
        advice = "Choose more messages, another channel or a longer file."
        read = f" I have read {counts}." if counts.total() else ""  # a text has no messages
        raise BotError(f"{error} {advice}{read}", "corpus") from error
    not_kept = [(str(why), number) for why, number in counts.left_out.most_common() if number]
    if rare := vocabulary.unknown(characters):
        not_kept.append((left_out(rare), rare.total()))
    kept = TextCounts(
        counts.characters,
        counts.messages,
        len(counts.authors),
        tuple(not_kept),
        known,
        tuple(counts.channels.most_common()),
    )
    seconds = recipe.epochs * learnt / speed.characters_per_second
    seconds += (recipe.epochs + STARTING_AND_WRITING) * speed.measuring_s
    return kept, round(seconds)


def _characters_of(text: Path, learnt: int) -> tuple[Counter[str], Counter[str]]:
    """How often each character occurs in the part of a file that is learnt, its first `learnt`
    characters, and in the part that is held out."""
    counts, held_out, read = Counter[str](), Counter[str](), 0
    with text.open(encoding="utf-8") as lines:
        for line in lines:  # a Counter holds the GIL until it has seen all of its argument
            counts.update(line[: max(0, learnt - read)])
            held_out.update(line[max(0, learnt - read) :])
            read += len(line)
    return counts, held_out
