"""Tables for the terminal: models, scores, samples."""

import unicodedata
from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

from charrnn.evaluation import Quality, Score
from charrnn.sentences import few
from charrnn.store import Card
from charrnn.vocabulary import describe_characters, visible

SHOWN_CHARACTERS = 60  # of a vocabulary
SHOWN_SPEAKERS = 5


def score(model: str, score: Score) -> Table:
    """How well a model predicts a text."""
    table = Table("model", "nats/char", "bits/char", "perplexity", "characters")
    table.add_row(
        printable(model),
        f"{score.nats:.4f}",
        f"{score.bits:.4f}",
        f"{score.perplexity:.3f}",
        f"{score.characters:,}",
    )
    return table


def quality(quality: Quality) -> Table:
    """How good the texts are that a model writes."""
    table = Table(title=f"{quality.samples} samples", title_justify="left", show_header=False)
    named = quality.named_speeches
    rows = {
        "words that occur in the training text": f"{quality.known_words:.1%}",
        "distinct runs of four words": f"{quality.distinct_4grams:.1%}",
        "speeches that open with a known name": "-" if named is None else f"{named:.1%}",
        "lines of 20 characters or more": f"{quality.long_lines:.0%}",
        "samples that end in a loop": f"{quality.loops:.1%}",
        "longest copy from the training text": f"{quality.longest_copy} characters: "
        f"{quality.copied!r}",
    }
    for name, value in rows.items():
        table.add_row(name, Text(value))
    return table


def models(cards: Mapping[str, Card]) -> Table:
    """One row a model."""
    table = Table("model", "network", "parameters", "held out, nats/char")
    for name, card in cards.items():
        parameters = card.training.get("parameters")
        nats = card.scores.get("held out", {}).get("nats")
        table.add_row(
            name,
            _network(card),
            f"{parameters:,}" if isinstance(parameters, int) else "",
            f"{nats:.4f}" if nats else "",
        )
    return table


def card(card: Card) -> Table:
    """Everything in a model's card, what people ask first at the top. Its `training` may be any
    JSON."""
    table = Table(show_header=False)
    characters = card.vocabulary.characters
    more = " …" if len(characters) > SHOWN_CHARACTERS else ""
    details = ("recipe", "history")
    rows: dict[str, object] = {
        "network": _network(card),
        **{f"score, {name}": value for name, value in card.scores.items()},
        **{name: value for name, value in card.training.items() if name not in details},
        "window": f"{card.spec.window} characters",
        "vocabulary": describe_characters(characters[:SHOWN_CHARACTERS]) + more,
        "speakers": few(card.speakers, SHOWN_SPEAKERS) or "none",
        "opening, read before a short seed": card.opening,
        **{name: card.training[name] for name in details if name in card.training},
    }
    for name, value in rows.items():
        table.add_row(printable(name.replace("_", " ")), printable(_shown(value)))
    return table


def printable(text: str) -> Text:
    """`text` for a terminal, which control sequences could take over: they are shown as `U+…`, as
    are other characters that could hide or reverse something."""

    def shown(character: str) -> str:  # the stream escapes surrogates
        is_surrogate = unicodedata.category(character) == "Cs"
        return character if is_surrogate else f"U+{ord(character):04X}"

    return Text(visible(text, shown))


def _network(card: Card) -> str:
    layers = " + ".join(f"LSTM {units}" for units in card.spec.units)
    inputs = f"embedding {card.spec.embedding}" if card.spec.embedding else "scaled ids"
    return f"{inputs}, {layers}, {card.spec.characters} characters"


def _shown(value: object) -> str:
    """JSON for people: `{"batch_size": 64, "cosine": true}` is "batch size 64, cosine yes", and a
    list has a line for each item."""
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case None:
            return "none"
        case dict():
            return ", ".join(f"{k.replace('_', ' ')} {_shown(v)}" for k, v in value.items())
        case list():
            return "\n".join(map(_shown, value))
        case _:
            return str(value)
