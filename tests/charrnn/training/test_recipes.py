from dataclasses import replace

import pytest

from charrnn.errors import OptionError
from charrnn.training.recipes import PRESETS, Recipe, fine_tuning, from_scratch


def test_less_text_is_read_more_often_and_held_back_harder():
    spec = PRESETS["chat"].spec(100)
    little, much = fine_tuning(spec, 10_000), fine_tuning(spec, 5_000_000)
    assert little.epochs > much.epochs
    assert little.dropout > much.dropout


def test_a_preset_is_as_it_is_for_the_text_it_is_meant_for():
    for preset in PRESETS.values():
        assert from_scratch(preset, 1_000_000) == preset.recipe


def test_a_small_text_from_scratch_gets_hundreds_of_updates():
    recipe = from_scratch(PRESETS["shakespeare"], 20_000)
    assert recipe.epochs * 20_000 / recipe.batch_size / recipe.segment > 500
    # The tutorial's recipe is the tutorial's, whatever the text.
    assert from_scratch(PRESETS["othello"], 20_000) == PRESETS["othello"].recipe


@pytest.mark.parametrize(
    "changes", [{"epochs": 0}, {"patience": 0}, {"learning_rate": -1.0}, {"dropout": 1.0}]
)
def test_a_recipe_that_cannot_be_is_refused(changes: dict[str, float]):
    with pytest.raises(OptionError, match="must be"):
        replace(Recipe(), **changes)
