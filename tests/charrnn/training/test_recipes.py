import re
from dataclasses import replace

import pytest

from charrnn.errors import CorpusError, OptionError
from charrnn.text import corpus
from charrnn.training.recipes import (
    FROM_A_BASE,
    FROM_SCRATCH,
    PRESETS,
    LeastText,
    Recipe,
    fine_tuning,
    from_scratch,
)


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


@pytest.mark.parametrize("least", [FROM_A_BASE, FROM_SCRATCH])
@pytest.mark.parametrize("share", [corpus.HELD_OUT_SHARE, 0.0, 0.01, 0.15, 1 / 3, 0.9])
def test_a_text_of_the_length_that_a_refusal_names_is_enough(least: LeastText, share: float):
    with pytest.raises(CorpusError, match=r"^5 characters .* takes ([\d,]+) or more") as refused:
        least.check(5, share)
    enough = int(re.findall(r"[\d,]+", str(refused.value))[1].replace(",", ""))
    assert least.check(enough, share) == least.warning
    with pytest.raises(CorpusError, match=f"{enough - 1:,} characters are too few"):
        least.check(enough - 1, share)


def test_what_is_checked_is_the_part_that_is_trained_on():
    text = "x" * 2222
    assert len(corpus.hold_out(text, corpus.HELD_OUT_SHARE)[0]) == FROM_A_BASE.refused
    assert FROM_A_BASE.check(len(text), corpus.HELD_OUT_SHARE) == FROM_A_BASE.warning


def test_enough_text_needs_no_warning_and_all_held_out_is_refused():
    assert FROM_A_BASE.check(FROM_A_BASE.warned, 0.0) == ""
    with pytest.raises(CorpusError, match="All of the text is held out"):
        FROM_A_BASE.check(1_000_000, 1.0)
