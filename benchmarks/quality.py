"""How good the texts are that a model writes, by temperature and top-p.

    pip install -c constraints.txt -e '.[corpus]'
    python benchmarks/quality.py --model shakespeare plays --held-out plays:julius-caesar \
        plays:twelfth-night

Give the sources and the held-out text of the training, as for `charrnn evaluate --samples`.
"""

import argparse
from itertools import product

from charrnn import evaluation, store
from charrnn.sampling import Sampling
from charrnn.text import corpus

TEMPERATURES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
TOP_PS = (0.9, 0.95, 1.0)
ENTRIES = ("known_words", "distinct_4grams", "named_speeches", "loops", "longest_copy")


def shown(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(description="The quality of samples, as a table.")
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--model", default="shakespeare")
    parser.add_argument("--held-out", nargs="*", default=[])
    parser.add_argument("--held-out-share", type=float, default=0.0)
    parser.add_argument("--samples", type=int, default=100)
    options = parser.parse_args()
    documents = corpus.read_sources(options.sources)
    if options.held_out:
        documents = corpus.without(documents, corpus.read_sources(options.held_out))
    text = corpus.join(documents)
    if options.held_out_share:
        text, _ = corpus.hold_out(text, options.held_out_share)
    model = store.load(options.model)
    headings = ("temperature", "top-p", *(entry.replace("_", " ") for entry in ENTRIES))
    print("| " + " | ".join(headings) + " |\n|" + " ---: |" * len(headings))
    # The last one is the tutorial's argmax.
    settings = [*product(TEMPERATURES, TOP_PS), (0.0, 1.0)]
    for temperature, top_p in settings:
        samples = evaluation.write_samples(model, options.samples, Sampling(temperature, top_p))
        quality = evaluation.quality(samples, text, model.vocabulary)
        values = (getattr(quality, entry) for entry in ENTRIES)
        cells = [f"{temperature:g}", f"{top_p:g}", *map(shown, values)]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
