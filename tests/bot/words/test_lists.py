import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from bot.errors import BotError, SettingsError
from bot.storage.registry import Registry
from bot.words.lists import NeverSaid, read_file, split
from tests.bot.guilds import GLOBE, ROSE


async def test_a_server_has_its_own_list_and_the_operators_applies_everywhere(registry: Registry):
    never_said = NeverSaid(registry, ["whale"])
    await never_said.add(GLOBE, ["knave", "fool"])

    def heard(guild_id: int | None) -> str:
        return never_said.in_server(guild_id).mask("a fool, a whale")

    assert heard(GLOBE) == "a f▮▮▮, a w▮▮▮▮"
    assert heard(ROSE) == heard(None) == "a fool, a w▮▮▮▮"
    await never_said.remove(GLOBE, "fool")
    assert heard(GLOBE) == "a fool, a w▮▮▮▮"


class SlowAtFirst:
    """A registry whose first answer comes after the second."""

    def __init__(self) -> None:
        self._lists = iter([(9, ["fool"]), (0, ["fool", "knave"])])

    async def add_words(self, guild_id: int, words: Collection[str]) -> list[str]:
        del guild_id, words
        turns, words = next(self._lists)
        for _ in range(turns):
            await asyncio.sleep(0)
        return words


async def test_of_two_changes_at_once_both_hold():
    registry: Any = SlowAtFirst()
    never_said = NeverSaid(registry)
    await asyncio.gather(never_said.add(GLOBE, ["fool"]), never_said.add(GLOBE, ["knave"]))
    assert never_said.words(GLOBE) == ["fool", "knave"]


async def test_lists_are_kept_over_a_restart_until_their_server_is_forgotten(registry: Registry):
    await NeverSaid(registry).add(GLOBE, ["fool"])
    never_said = NeverSaid(registry)
    await never_said.load()
    assert never_said.words(GLOBE) == ["fool"]
    never_said.forget(GLOBE)
    assert never_said.in_server(GLOBE).find("fool") == []


def test_words_are_typed_with_commas_between_them():
    assert split(" Fool,  bad\n PHRASE ,, ") == ["fool", "bad phrase"]
    with pytest.raises(BotError):
        split(" , ")
    with pytest.raises(BotError, match=r"^Entry 2 is wrong. A word or phrase is 1 to 50 "):
        split("fool, ..., knave")


def test_the_operators_file_has_one_phrase_a_line_and_comments(tmp_path: Path):
    file = tmp_path / "words.txt"
    file.write_text("\ufeff# mine\nFool\n\n  # yours\n  bad   phrase \nC#\n", "utf-8")
    assert read_file(file) == ["fool", "bad phrase", "c#"]


def test_each_wrong_line_of_the_file_is_named_without_its_content(tmp_path: Path):
    file = tmp_path / "words.txt"
    file.write_text(f"fool\n...\n{'secret' * 10}\n")
    with pytest.raises(SettingsError) as refusal:
        read_file(file)
    assert [problem.partition(" is wrong")[0] for problem in refusal.value.problems] == [
        f"WORDS_FILE: line 2 of {file}",
        f"WORDS_FILE: line 3 of {file}",
    ]
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(("content", "why"), [(b"f\xfc", "not UTF-8"), (None, "No such file")])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, why: str):
    file = tmp_path / "words.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=rf"^WORDS_FILE: .*words\.txt .*{why}"):
        read_file(file)
