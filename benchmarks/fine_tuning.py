"""The loss on a channel after fine-tuning each base, and after training from scratch.

    pip install -c constraints.txt -e '.[train]'
    python benchmarks/fine_tuning.py other-channel.jsonl --sizes 10000 50000 0

The last 15 % of the channel is held out. The training text is the last SIZE characters before that;
0 means all of them. Training from scratch uses the network of the first base, for as many epochs as
fit in three minutes. Of every training, the best epoch counts.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from charrnn import evaluation, store
from charrnn.text import corpus
from charrnn.training.job import Job
from charrnn.training.recipes import Preset, Recipe, fine_tuning
from charrnn.training.run import train

FROM_SCRATCH_S = 180
FROM_SCRATCH_RATE = 0.002  # learning rate; higher than for fine-tuning


@dataclass(frozen=True)
class Result:
    nats: float  # per character, held out
    epochs: int
    seconds: float  # of the whole training


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
    parser = argparse.ArgumentParser(
        description="Fine-tuning from each base, and training from scratch."
    )
    parser.add_argument("channel")
    parser.add_argument("--bases", nargs="+", default=["chat", "shakespeare"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[10_000, 50_000, 0])
    options = parser.parse_args()
    bases = [store.load(name, for_training=True) for name in options.bases]
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
