"""What a base is worth: a channel's text, fine-tuned from each base and learnt from scratch.

    pip install -c constraints.txt -e '.[train]'
    python benchmarks/fine_tuning.py other-channel.jsonl --sizes 10000 50000 0

The last 15 % of the channel is held out; of what comes before, the last SIZE characters are the
training text, 0 being all of it. From scratch, the network of the first base gets as many epochs as
three minutes hold, however soon fine-tuning was done; the best one counts, as it does everywhere.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from charrnn import evaluation, store
from charrnn.text import corpus
from charrnn.training.recipes import Preset, Recipe, fine_tuning
from charrnn.training.run import Job, train

FROM_SCRATCH_S = 180
FROM_SCRATCH_RATE = 0.002  # of learning; a base asks for a lower one


@dataclass(frozen=True)
class Result:
    nats: float  # per character, held out
    epochs: int
    seconds: float  # in all


def trained(text: str, held_out: str, start: Preset | store.Model, recipe: Recipe) -> Result:
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        job = Job(text, held_out, Path(folder) / "model", start, recipe)
        card = train(job, lambda _: None).card
    seconds = time.monotonic() - started
    return Result(card.scores["held out"]["nats"], card.training["epochs"], seconds)


def untouched(held_out: str, base: store.Model) -> float:
    return evaluation.score(base.engine, base.vocabulary.encode(held_out).ids).nats


def main() -> None:
    parser = argparse.ArgumentParser(description="What a base is worth.")
    parser.add_argument("channel")
    parser.add_argument("--bases", nargs="+", default=["chat", "shakespeare"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[10_000, 50_000, 0])
    options = parser.parse_args()
    bases = [store.load(name) for name in options.bases]
    [document] = corpus.read_sources([options.channel])
    text, held_out = corpus.hold_out(document.text, 0.15)
    for base in bases:
        print(f"{base.name} untouched: {untouched(held_out, base):.3f}")
    columns = ["characters", *(f"from {base.name}" for base in bases), "from scratch"]
    print("\n| " + " | ".join(columns) + " |\n|" + " ---: |" * len(columns))
    for size in options.sizes:
        learnt = text[-size:]
        spec = bases[0].card.spec
        recipe = fine_tuning(spec, len(learnt))
        results = [trained(learnt, held_out, base, recipe) for base in bases]
        epochs = round(FROM_SCRATCH_S * results[0].epochs / results[0].seconds)
        recipe = replace(recipe, epochs=epochs, patience=None, learning_rate=FROM_SCRATCH_RATE)
        network = Preset(spec.units, spec.embedding, spec.stateful, recipe)
        results.append(trained(learnt, held_out, network, recipe))
        cells = [f"{r.nats:.3f} ({r.epochs} epochs, {r.seconds:.0f} s)" for r in results]
        print("| " + " | ".join([f"{len(learnt):,}", *cells]) + " |", flush=True)


if __name__ == "__main__":
    main()
