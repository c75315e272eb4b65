"""What fine-tuning makes of each base: loss, voice, and quality of what it writes, per channel.

    pip install -c constraints.txt -e '.[train]'
    python benchmarks/fine_tuning.py other-channel.jsonl --sizes 10000 50000 0 --words chat.jsonl.gz

Of each channel the last 15 %, at most 50,000 characters, is held out. The training text is the last
SIZE characters before that; 0 means all of them.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from charrnn import evaluation, store
from charrnn.cli.backend import with_keras
from charrnn.evaluation import VoiceJudge, write_messages
from charrnn.sampling import Sampling
from charrnn.text import corpus
from charrnn.training.job import Job
from charrnn.training.recipes import Preset, fine_tuning

run = with_keras("run.train")  # with the threads of `charrnn train`
validation = with_keras("run.validation")

HELD_OUT = 50_000  # characters at most
LONGEST_COPY = 40  # as /retrain allows
SAMPLES = 100
FROM_SCRATCH_S = 180
FROM_SCRATCH_RATE = 0.002  # learning rate; higher than for fine-tuning
COLUMNS = (
    *("channel", "base", "characters", "nats untouched", "nats fine-tuned"),
    *("voice", "voice, held out", "known words", "loops", "lines of 20 or more", "longest copy"),
    *("kept epoch", "seconds"),
)


def row(*cells: object) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def figure(voice: float | None, error: float | None) -> str:
    return "-" if voice is None or error is None else f"{voice:.2f} ± {2 * error:.2f}"


def fine_tuned(text: str, held_out: str, base: store.Model, words: str) -> list[object]:
    """The cells of one training."""
    recipe = fine_tuning(base.card.spec, len(text))
    judge = VoiceJudge(held_out, write_messages(base, validation.BASE_SAMPLES, Sampling()))
    with tempfile.TemporaryDirectory() as folder:
        job = Job(text, held_out, Path(folder) / "m", base, recipe, longest_copy=LONGEST_COPY)
        started = time.monotonic()
        model = run.train(job, lambda _: None)
        seconds = time.monotonic() - started
    samples = write_messages(model, SAMPLES, Sampling(), first_seed=5_000_000)
    quality = evaluation.quality(samples, text, model.vocabulary)
    training, voice = model.card.training, judge.voice(samples)
    return [
        f"{training['history'][0]['validation_loss']:.3f}",
        f"{model.card.scores['held out']['nats']:.3f}",
        figure(training.get("voice"), training.get("voice_error")),
        "-" if voice is None else figure(voice.value, voice.standard_error),
        f"{evaluation.known_words(samples, words + text + held_out):.1%}",
        f"{quality.loops:.0%}",
        f"{quality.long_lines:.0%}",
        quality.longest_copy,
        f"{training['best_epoch']} of {training['epochs']}",
        f"{seconds:.0f}",
    ]


def from_scratch(text: str, held_out: str, base: store.Model) -> float:
    """Nats per character of the base's network after three minutes of training from scratch."""
    spec = base.card.spec
    recipe = replace(
        fine_tuning(spec, len(text)), epochs=1, patience=None, learning_rate=FROM_SCRATCH_RATE
    )
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        network = Preset(spec.units, spec.embedding, spec.stateful, recipe)
        run.train(Job(text, held_out, Path(folder) / "one", network, recipe), lambda _: None)
        epochs = max(1, round(FROM_SCRATCH_S / (time.monotonic() - started)))
        recipe = replace(recipe, epochs=epochs)
        model = run.train(Job(text, held_out, Path(folder) / "m", network, recipe), lambda _: None)
    return model.card.scores["held out"]["nats"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Fine-tuning from each base.")
    parser.add_argument("channels", nargs="+")
    parser.add_argument("--bases", nargs="+", default=["chat"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[10_000, 50_000, 0])
    parser.add_argument(
        "--words", nargs="*", default=[], help="texts whose words are known, beside the channel's"
    )
    parser.add_argument("--scratch", action="store_true", help="also train from scratch")
    options = parser.parse_args()
    bases = [store.load(name, for_training=True) for name in options.bases]
    words = corpus.join(corpus.read_sources(options.words)) if options.words else ""
    row(*COLUMNS)
    row(*(["---"] * 2), *(["---:"] * (len(COLUMNS) - 2)))
    for channel in options.channels:
        [document] = corpus.read_sources([channel])
        length = len(document.text)
        text, held_out = corpus.hold_out(document.text, min(0.15, HELD_OUT / length))
        for size in options.sizes:
            learnt = text[-size:]
            for base in bases:
                cells = fine_tuned(learnt, held_out, base, words)
                row(Path(channel).name, base.name, f"{len(learnt):,}", *cells)
            if options.scratch:
                nats = from_scratch(learnt, held_out, bases[0])
                row(Path(channel).name, "none", f"{len(learnt):,}", "", f"{nats:.3f}")


if __name__ == "__main__":
    main()
