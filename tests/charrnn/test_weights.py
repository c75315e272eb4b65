"""The shipped models are what their cards and the README say."""

from pathlib import Path

import pytest

from charrnn import store
from charrnn.generation import Prompt, generate

FOLDERS = {name: store.locate(name) for name in store.shipped()}


def test_the_models_of_this_part_are_shipped():
    assert {"othello", "shakespeare"} <= set(FOLDERS)


@pytest.mark.parametrize("name", FOLDERS)
def test_each_is_whole_and_says_how_it_was_made(name: str):
    model = store.load(name)
    assert f"--output weights/{name}" in model.card.training["command"]
    assert len(generate(model, [Prompt("To be, or not to be")])[0].text) == 500


def test_shakespeare_predicts_plays_it_has_not_seen():
    held_out = store.load("shakespeare").card.scores["held out"]
    assert held_out["nats"] < 1.60
    assert held_out["characters"] > 200_000


def test_all_of_them_stay_small():
    files = [file for folder in FOLDERS.values() for file in Path(folder).iterdir()]
    assert sum(file.stat().st_size for file in files) < 80e6
