"""The shipped models are what their cards and weights/README.md say."""

from pathlib import Path

import pytest

from charrnn import store
from charrnn.evaluation import score
from charrnn.generation import Prompt, generate
from charrnn.text import corpus

ROOT = Path(__file__).parents[2]
FOLDERS = {name: store.locate(name) for name in store.shipped()}


@pytest.mark.parametrize("name", FOLDERS)
def test_each_model_writes_and_says_how_it_was_trained(name: str):
    model = store.load(name, for_training=True)
    assert f"--output weights/{name}" in model.card.training["command"]
    assert len(generate(model, [Prompt("To be, or not to be")])[0].text) == 500


@pytest.mark.parametrize("name", FOLDERS)
def test_the_page_gives_the_figures_of_the_cards(name: str):
    page = (ROOT / "weights" / "README.md").read_text("utf-8")
    card, _ = store.read_card(FOLDERS[name])
    assert f"{card.training['parameters']:,}" in page
    assert card.spec.parameters == card.training["parameters"]
    for figures in card.scores.values():
        assert f"{figures['nats']:.4f}" in page


def test_shakespeare_predicts_a_play_it_has_not_seen_better_than_tinyshakespeare():
    [play] = corpus.read_sources(["plays:julius-caesar"])
    nats = {
        name: score(store.load(name), play.text[:6000], lanes=20).nats
        for name in ("shakespeare", "tinyshakespeare")
    }
    assert nats["shakespeare"] < nats["tinyshakespeare"] - 0.02 < 1.6


def test_all_models_together_stay_small():
    files = [file for folder in FOLDERS.values() for file in Path(folder).iterdir()]
    assert sum(file.stat().st_size for file in files) < 90e6
