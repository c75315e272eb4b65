"""What the command line shows of models, scores and samples, as tables for a terminal."""

import json
from collections.abc import Mapping

from rich.console import Group
from rich.table import Table
from rich.text import Text

from charrnn.benchmark import HERE, LANES, LOOP, REPLY_LENGTH, Results
from charrnn.evaluation import Quality, Score
from charrnn.store import Card
from charrnn.vocabulary import describe_characters


def score(model: str, score: Score) -> Table:
    """How well a model predicts a text."""
    table = Table("model", "nats/char", "bits/char", "perplexity", "characters")
    table.add_row(
        Text(model),
        f"{score.nats:.4f}",
        f"{score.bits:.4f}",
        f"{score.perplexity:.3f}",
        f"{score.characters:,}",
    )
    return table


def quality(quality: Quality) -> Table:
    """How good a text a model writes."""
    table = Table(title=f"{quality.samples} samples", title_justify="left", show_header=False)
    named = quality.named_speeches
    rows = {
        "words that are in the training text": f"{quality.known_words:.1%}",
        "different runs of four words": f"{quality.distinct_4grams:.1%}",
        "speeches that a known name opens": "-" if named is None else f"{named:.1%}",
        "samples that end in a loop": f"{quality.loops:.1%}",
        "longest run copied from it": f"{quality.longest_copy} characters: {quality.copied!r}",
    }
    for name, value in rows.items():
        table.add_row(name, Text(value))
    return table


def models(cards: Mapping[str, Card]) -> Table:
    """Models, a line each."""
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
    """All that is known of a model."""
    table = Table(show_header=False)
    rows: dict[str, object] = {
        "network": _network(card),
        "window": f"{card.spec.window} characters",
        "vocabulary": describe_characters(card.vocabulary.characters),
        "opening": card.opening,
        **{f"score, {name}": value for name, value in card.scores.items()},
        **card.training,
    }
    for name, value in rows.items():
        table.add_row(printable(name), _shown(value))
    return table


def benchmark(results: Results) -> Group:
    """How fast this engine writes, beside others and the tutorial's loop."""
    r = results
    speeds = Table("", *(f"{lanes} lane{'s' * (lanes > 1)}" for lanes in LANES))
    speeds.title = f"{r.model}, characters a second (and how many times as fast {HERE} is)"
    for name, speed in r.characters_per_second.items():
        cells = [f"{_figure(speed[n])} ({_figure(r.times_as_fast[name][n])})" for n in LANES]
        speeds.add_row(name, *cells)
    replies = Table("", "ms", "ms a character", "the loop's", "times as fast")
    replies.title = f"{HERE}, a text of {REPLY_LENGTH} characters, beside the {LOOP}"
    for name, reply in ((r.model, r.reply), ("othello, argmax", r.othello)):
        times = (reply.milliseconds, reply.milliseconds_per_character)
        times += (r.loop_milliseconds_per_character, reply.times_as_fast)
        replies.add_row(name, *map(_figure, times))
    for table in (speeds, replies):
        table.title_justify = "left"
        for column in table.columns[1:]:
            column.justify = "right"
    compared = "the same" if r.same_characters else "NOT the same"
    threads = (f"{name} {count or 'as it likes'}" for name, count in r.threads.items())
    notes = [
        f"The {LOOP} has its own network and writes one text at a time, whatever the lanes; "
        f"it was measured over {r.loop_length} characters a round.",
        f"With that network, under argmax, it and {HERE} wrote {r.compared_characters} characters: "
        f"{compared}.",
        f"{r.processor}, {r.cores} cores; threads: {', '.join(threads)}.",
        f"Medians of {r.rounds} rounds of {r.length} characters a lane, all taking turns.",
        ", ".join(f"{name} {version}" for name, version in r.versions.items()),
        *(f"Left out, for it is not installed: {name}." for name in r.left_out),
    ]
    return Group(speeds, "", replies, "", *(Text(note, style="dim") for note in notes))


def _figure(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _network(card: Card) -> str:
    layers = " + ".join(f"LSTM {units}" for units in card.spec.units)
    inputs = f"embedding {card.spec.embedding}" if card.spec.embedding else "scaled ids"
    return f"{inputs}, {layers}, {card.spec.characters} characters"


def _shown(value: object) -> Text:
    return printable(value if isinstance(value, str) else json.dumps(value))


def printable(text: str) -> Text:
    """What may be a stranger's, as a terminal may have it: without control sequences."""
    return Text("".join(c if c.isprintable() or c == "\n" else f"U+{ord(c):04X}" for c in text))
