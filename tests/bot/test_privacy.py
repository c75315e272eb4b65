from pathlib import Path

import pytest

from bot.errors import BotError
from bot.privacy import Privacy, author_ids
from bot.storage.files import StateFolder
from bot.storage.registry import Registry
from charrnn.text.messages import Counts
from tests.bot.guilds import ADMIN, ANN, BEN, GLOBE, ROSE, make, queue


@pytest.fixture
def files(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path)


@pytest.fixture
def privacy(registry: Registry, files: StateFolder) -> Privacy:
    return Privacy(registry, files, keep_texts=True)


async def test_nothing_learns_from_an_author_who_opted_out(privacy: Privacy, registry: Registry):
    await privacy.check_authors({ANN, BEN})
    await privacy.opt_out(ANN)
    assert await privacy.opted_out() == {str(ANN)}
    await privacy.check_authors({BEN})
    with pytest.raises(BotError, match="has opted out, so its text is deleted"):
        await privacy.check_authors({ANN, BEN})
    await registry.opt_in(ANN)
    await privacy.check_authors({ANN, BEN})


async def test_a_model_that_learnt_from_somebody_who_opted_out_is_no_base(
    privacy: Privacy, registry: Registry
):
    theirs = await make(registry, GLOBE, "a", ANN)
    other = await make(registry, GLOBE, "b", BEN)
    await privacy.check_base(theirs.id)
    await privacy.opt_out(ANN)
    for base_id in (other.id, None):
        await privacy.check_base(base_id)
    with pytest.raises(BotError, match="Choose another base, such as chat"):
        await privacy.check_base(theirs.id)


async def test_opting_out_deletes_the_kept_texts_that_learnt_from_somebody(
    privacy: Privacy, registry: Registry, files: StateFolder
):
    models = [await make(registry, GLOBE, "a", ANN), await make(registry, GLOBE, "b", BEN)]
    for model in models:
        files.text(model).parent.mkdir(exist_ok=True)
        files.text(model).write_text("so be it")
    await privacy.opt_out(ANN)
    assert [files.text(model).exists() for model in models] == [False, True]


async def describe(privacy: Privacy, registry: Registry, user_id: int) -> str:
    names = {GLOBE: "The *Globe*", ROSE: "The Rose"}
    return privacy.describe(await registry.kept_about(user_id), names.__getitem__)


async def test_about_most_people_nothing_is_kept(privacy: Privacy, registry: Registry):
    described = await describe(privacy, registry, ANN)
    assert "You have not opted out" in described
    assert "No model has learnt from your messages" in described
    assert "neither your questions to me nor my answers" in described


async def test_models_and_jobs_are_described_server_by_server(privacy: Privacy, registry: Registry):
    made = await make(registry, GLOBE, "our_own", ANN)
    await make(registry, ROSE, "theirs", ANN, BEN)
    await make(registry, ROSE, "others", BEN)
    await queue(registry, GLOBE, "next", ANN)
    described = await describe(privacy, registry, ANN)
    assert (
        f"""**The \\*Globe\\***
- our\\_own, made on <t:{made.created_at}:d>, has learnt from your messages.
- next is not trained yet, and will learn from your messages.
**The Rose**
- theirs, made on"""
        in described
    )
    assert "others" not in described


async def test_trainings_are_described_to_the_admin_who_asked_for_them(
    privacy: Privacy, registry: Registry
):
    model = await make(registry)
    described = await describe(privacy, registry, ADMIN)
    sentence = f"mine: you asked for this training on <t:{model.created_at}:d>; it is finished."
    assert sentence in described
    assert "has learnt from your messages" not in described


@pytest.mark.parametrize("keep_texts", [True, False])
async def test_people_are_told_that_their_texts_are_kept(
    registry: Registry, files: StateFolder, keep_texts: bool
):
    privacy = Privacy(registry, files, keep_texts=keep_texts)
    kept = "is kept until the model is deleted"
    assert kept not in await describe(privacy, registry, ANN)
    await make(registry, GLOBE, "mine", ANN)
    assert (kept in await describe(privacy, registry, ANN)) is keep_texts


async def test_the_plain_description_has_days_and_no_markup(privacy: Privacy, registry: Registry):
    await make(registry, GLOBE, "our_own", ANN)
    await privacy.opt_out(ANN)
    kept = await registry.kept_about(ANN)
    described = privacy.describe_plainly(kept, lambda _: "The *Globe*")
    assert "You opted out on 2023-11-14" in described
    assert "\n\nThe *Globe*\n" in described
    assert "- our_own, made on 2023-11-14, has learnt" in described


def test_only_ids_of_discord_are_authors():
    authors = {"1", "9223372036854775807", "9223372036854775808", "ada", "", "-1", "١"}
    assert author_ids(Counts(authors=authors)) == {1, 2**63 - 1}
