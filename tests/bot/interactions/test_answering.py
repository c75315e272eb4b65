from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, Mock

import aiohttp
import discord
import pytest
from discord import InteractionResponseType, InteractionType, app_commands

from bot.errors import BotError
from bot.interactions.answering import (
    FORBIDDEN,
    NOT_CONFIRMED,
    answer_error,
    keep_answer,
    think,
)
from bot.interactions.markup import MESSAGE_LIMIT, utf16_length

REFUSAL = BotError("There is nothing to learn from.", kind="corpus")


def interaction(
    response: InteractionResponseType | None = None,
    kind: InteractionType = InteractionType.application_command,
) -> AsyncMock:
    """An interaction that has been responded to with `response`, if with anything."""
    responded = Mock(return_value=response is not None)
    return AsyncMock(
        id=7,
        type=kind,
        command=None,
        guild_id=None,
        data=None,
        extras={},
        client=Mock(),
        response=AsyncMock(type=response, is_done=responded),
    )


def http_error(kind: Any, status: int, code: int = 0) -> discord.HTTPException:
    return kind(SimpleNamespace(status=status, reason=""), {"code": code, "message": ""})


@pytest.mark.parametrize(
    ("error", "outcome", "sentence"),
    [
        (REFUSAL, "refused", "There is nothing to learn from."),
        (app_commands.CommandNotFound("nosuch", []), "refused", "This command has changed."),
        (http_error(discord.Forbidden, 403, 50013), "lost", FORBIDDEN),
        (http_error(discord.DiscordServerError, 503), "lost", NOT_CONFIRMED),
        (aiohttp.ServerDisconnectedError(), "lost", NOT_CONFIRMED),
        (RuntimeError("secret"), "failed", "Something went wrong on my side."),
    ],
)
async def test_an_error_is_answered_with_a_sentence(error: Exception, outcome: str, sentence: str):
    asked = interaction()
    await answer_error(asked, error)
    [said] = asked.response.send_message.await_args.args
    assert said.startswith(sentence) and "secret" not in said
    event, answered = asked.client.dispatch.call_args.args
    assert (event, answered.outcome) == ("answered", outcome)


async def test_an_unexpected_error_is_logged_under_the_number_that_the_user_gets(
    caplog: pytest.LogCaptureFixture,
):
    asked = interaction()
    await answer_error(asked, RuntimeError("secret"))
    [said] = asked.response.send_message.await_args.args
    [record] = caplog.records
    assert said.endswith(str(asked.id))
    assert record.getMessage().startswith(f"Interaction {asked.id}: unknown in private: failed, ")
    assert record.exc_info is not None


async def test_a_sentence_that_is_too_long_is_cut():
    asked = interaction()
    await answer_error(asked, BotError("😀" * 10_000, kind="corpus"))
    [said] = asked.response.send_message.await_args.args
    assert utf16_length(said) == MESSAGE_LIMIT


async def test_a_private_thinking_becomes_the_refusal():
    asked = interaction(InteractionResponseType.deferred_channel_message)
    await think(asked, private=True)
    await answer_error(asked, REFUSAL)
    asked.edit_original_response.assert_awaited_once_with(content=str(REFUSAL))
    asked.followup.send.assert_not_awaited()


@pytest.mark.parametrize("deleted", [False, True])
async def test_a_public_thinking_is_deleted_before_the_refusal_is_sent_in_private(deleted: bool):
    asked = interaction(InteractionResponseType.deferred_channel_message)
    if deleted:  # already
        gone = http_error(discord.NotFound, 404, 10008)
        asked.edit_original_response.side_effect = asked.delete_original_response.side_effect = gone
    await think(asked, private=False)
    await answer_error(asked, REFUSAL)
    assert [name for name, *_ in asked.mock_calls if "original" in name or "followup" in name] == [
        "edit_original_response",
        "delete_original_response",
        "followup.send",
    ]
    assert str(REFUSAL) not in str(asked.edit_original_response.await_args)
    asked.followup.send.assert_awaited_once_with(str(REFUSAL), ephemeral=True)


async def test_a_public_thinking_is_deleted_even_if_the_refusal_cannot_be_sent():
    asked = interaction(InteractionResponseType.deferred_channel_message)
    asked.followup.send.side_effect = ConnectionResetError("gone")
    await think(asked, private=False)
    await answer_error(asked, REFUSAL)
    asked.delete_original_response.assert_awaited_once_with()


async def test_an_answer_that_is_shown_stays_when_an_error_follows():
    asked = interaction(InteractionResponseType.deferred_channel_message)
    await think(asked, private=False)
    keep_answer(asked)
    await answer_error(asked, REFUSAL)
    asked.edit_original_response.assert_not_awaited()
    asked.delete_original_response.assert_not_awaited()
    asked.followup.send.assert_awaited_once_with(str(REFUSAL), ephemeral=True)


async def test_the_message_over_a_button_is_not_replaced_by_a_refusal():
    asked = interaction(InteractionResponseType.deferred_message_update, InteractionType.component)
    await answer_error(asked, REFUSAL)
    asked.followup.send.assert_awaited_once_with(str(REFUSAL), ephemeral=True)
    asked.edit_original_response.assert_not_awaited()


async def test_an_interaction_that_has_expired_is_not_answered(caplog: pytest.LogCaptureFixture):
    asked = interaction()
    await answer_error(asked, http_error(discord.NotFound, 404, 10062))
    asked.response.send_message.assert_not_awaited()
    [line] = caplog.messages
    assert ": lost, " in line


async def test_an_error_while_a_user_types_offers_no_choices():
    asked = interaction(kind=InteractionType.autocomplete)
    await answer_error(asked, REFUSAL)
    asked.response.autocomplete.assert_awaited_once_with([])


async def test_an_answer_that_cannot_be_sent_is_logged_once(caplog: pytest.LogCaptureFixture):
    asked = interaction()
    asked.response.send_message.side_effect = ConnectionResetError("gone")
    await answer_error(asked, REFUSAL)
    [warning] = [record for record in caplog.records if record.levelname == "WARNING"]
    assert warning.message == "Interaction 7 could not be answered: ConnectionResetError('gone')"
