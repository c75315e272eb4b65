from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bot.errors import BotError, RegistryError
from bot.storage.records import JobState, Sample, StoredModel
from bot.storage.registry import Registry
from tests.bot.guilds import ANN, GLOBE, ROSE, SCORES, SOURCE, Clock, create, make, prepare, train


async def use(registry: Registry, names: str) -> None:
    """Use models named by one letter, one after another."""
    for name in names:
        await registry.use(GLOBE, (await registry.model_named(GLOBE, name)).id)


async def in_use(registry: Registry) -> str | None:
    model = await registry.model_in_use(GLOBE)
    assert [m for m in await registry.models(GLOBE) if m.in_use] == ([model] if model else [])
    return model and model.name


async def test_a_finished_job_is_a_model_that_is_not_in_use(registry: Registry, clock: Clock):
    model = await make(registry)
    assert model == StoredModel(
        id=1,
        guild_id=GLOBE,
        name="mine",
        base="chat",
        source=SOURCE,
        created_at=int(clock.now),
        size_bytes=14_000_000,
        scores=SCORES,
        samples=None,
        in_use=False,
    )
    assert model.folder == (await registry.job(GLOBE, model.id)).folder
    assert await registry.models(GLOBE) == (model,)
    assert await registry.find_model(GLOBE, model.id) == model
    assert await in_use(registry) is None


async def test_samples_are_kept_with_their_model(registry: Registry):
    model = await make(registry)
    samples = (Sample("hi", "before", "after"), Sample("I", "“a”", "b\nc"))
    await registry.save_samples(GLOBE, model.id, samples)
    assert await registry.models(GLOBE) == (replace(model, samples=samples),)
    await registry.delete(GLOBE, model.id)
    await registry.save_samples(GLOBE, model.id, samples)
    assert await registry.find_model(GLOBE, model.id) is None


async def test_models_survive_a_restart(tmp_path: Path):
    with closing(Registry(tmp_path / "registry.db")) as registry:
        model = await registry.use(GLOBE, (await make(registry, GLOBE, "mine", ANN)).id)
    with closing(Registry(tmp_path / "registry.db")) as registry:
        assert await registry.model_in_use(GLOBE) == model
        assert (await registry.kept_about(ANN)).models == (model,)


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        ("use", "b"),
        ("use another", "ab"),
        ("use again", ""),
        ("roll back", "ab"),
        ("rename", "a"),
        ("delete", "a"),
        ("delete the one in use", "ab"),
    ],
)
async def test_a_change_is_to_be_shown_in_the_message_of_each_model_that_it_changes(
    registry: Registry, change: str, changed: str
):
    models = {name: await make(registry, name=name) for name in "abc"}
    a, b = models["a"].id, models["b"].id
    used = {"use another": "a", "use again": "b", "roll back": "ab", "delete the one in use": "ba"}
    await use(registry, used.get(change, ""))
    for model in await registry.models(GLOBE):
        await registry.mark_shown(GLOBE, model.id, model)
    match change:
        case "use" | "use another" | "use again":
            await registry.use(GLOBE, b)
        case "roll back":
            await registry.roll_back(GLOBE, b)
        case "rename":
            await registry.rename(GLOBE, a, "better")
        case _:
            await registry.delete(GLOBE, a)
    outdated = {job.id for job in await registry.jobs_to_show()}
    assert outdated == {models[name].id for name in changed}
    for job_id in outdated:
        await registry.mark_shown(GLOBE, job_id, await registry.find_model(GLOBE, job_id))
    assert await registry.jobs_to_show() == ()


async def test_a_model_that_changed_while_it_was_being_shown_is_shown_again(registry: Registry):
    drawn = await make(registry)
    await registry.use(GLOBE, drawn.id)
    await registry.mark_shown(GLOBE, drawn.id, drawn)
    assert [job.id for job in await registry.jobs_to_show()] == [drawn.id]


@pytest.mark.parametrize(
    ("used", "rolled_back"),
    [
        ("a", [None]),
        ("abc", ["b", "a", None]),
        ("aba", ["b", "a", None]),
        ("abb", ["a", None]),  # used twice counts once
    ],
)
async def test_rolling_back_goes_back_step_by_step(
    registry: Registry, used: str, rolled_back: list[str | None]
):
    for name in "abc":
        await make(registry, name=name)
    await use(registry, used)
    for expected in rolled_back:
        await registry.roll_back(GLOBE, (await registry.model_in_use(GLOBE)).id)
        assert await in_use(registry) == expected


async def test_a_model_that_is_not_in_use_is_not_rolled_back(registry: Registry):
    models = [await make(registry, name=name) for name in "abc"]
    await use(registry, "abc")
    await registry.roll_back(GLOBE, models[2].id)
    with pytest.raises(BotError, match="c is not in use"):
        await registry.roll_back(GLOBE, models[2].id)
    assert await in_use(registry) == "b"


async def test_rolling_back_skips_what_was_rolled_back_before(registry: Registry):
    _, b, c = [await make(registry, name=name) for name in "abc"]
    await use(registry, "ab")
    await registry.roll_back(GLOBE, b.id)
    await use(registry, "c")
    await registry.roll_back(GLOBE, c.id)
    assert await in_use(registry) == "a"


@pytest.mark.parametrize(
    ("used", "deleted", "now", "rolled_back"),
    [
        ("a", "a", None, None),
        ("abc", "c", "b", "a"),
        ("abc", "b", "c", "a"),
        ("ba", "b", "a", None),
        ("cabab", "b", "a", "c"),  # not from a to a
    ],
)
async def test_deleting_a_model_falls_back_to_the_one_before(
    registry: Registry, used: str, deleted: str, now: str | None, rolled_back: str | None
):
    for name in "abc":
        await make(registry, name=name)
    await use(registry, used)
    await registry.delete(GLOBE, (await registry.model_named(GLOBE, deleted)).id)
    assert await in_use(registry) == now
    if now:
        await registry.roll_back(GLOBE, (await registry.model_named(GLOBE, now)).id)
    assert await in_use(registry) == rolled_back


async def test_a_model_in_use_can_be_kept_from_deletion(registry: Registry):
    model = await registry.use(GLOBE, (await make(registry)).id)
    with pytest.raises(BotError, match="mine is in use"):
        await registry.delete(GLOBE, model.id, unless_in_use=True)
    await registry.roll_back(GLOBE, model.id)
    deleted = await registry.delete(GLOBE, model.id, unless_in_use=True)
    assert deleted.folder == model.folder
    assert await registry.models(GLOBE) == ()


async def test_the_id_of_a_deleted_model_is_not_used_again(registry: Registry):
    model = await make(registry)
    await registry.delete(GLOBE, model.id)
    with pytest.raises(BotError, match="no such model"):
        await registry.model(GLOBE, model.id)
    assert (await make(registry)).id > model.id


@pytest.mark.parametrize(
    "name",
    ["", "a" * 33, "a b", "a/b", "..", "a\n", "@everyone", "**", "CHAT", "othello", "Kept"],
)
async def test_a_wrong_or_taken_name_is_refused(registry: Registry, name: str):
    await make(registry, name="kept")
    other = await make(registry, name="other")
    with pytest.raises(BotError, match="Choose another name"):
        await registry.rename(GLOBE, other.id, name)
    with pytest.raises(BotError, match="Choose another name"):
        await create(registry, name=name)
    assert [model.name for model in await registry.models(GLOBE)] == ["kept", "other"]


@pytest.mark.parametrize("name", ["a", "Mine-2_b", "x" * 32, "général", "日本語", "KEPT", "हिन्दी"])
async def test_a_model_is_renamed_and_found_by_its_name(registry: Registry, name: str):
    model = await make(registry, name="kept")
    assert (await registry.rename(GLOBE, model.id, name)).name == name
    assert (await registry.model_named(GLOBE, name.swapcase())).id == model.id


async def test_names_are_equal_whatever_their_case_and_unicode_form(registry: Registry):
    await make(registry, name="Général")
    with pytest.raises(BotError, match="already has a model"):
        await create(registry, name="ge\u0301ne\u0301ral")
    await make(registry, ROSE, name="général")  # other guilds have names of their own


async def test_the_name_of_an_active_job_is_taken(registry: Registry):
    model = await make(registry, name="first")
    job = await train(registry, name="second")
    with pytest.raises(BotError, match="already has a model Second"):
        await registry.rename(GLOBE, model.id, "Second")
    await registry.end(GLOBE, job.id, JobState.CANCELLED, "Why.")
    await registry.rename(GLOBE, model.id, "Second")


@pytest.mark.parametrize(
    ("wish", "name"),
    [
        ("general", "general"),
        ("KEPT", "KEPT-3"),  # models of this server
        ("soon", "soon-2"),  # its active job
        ("chat", "chat-2"),  # a model that every server has
        ("what's up?", "what-s-up"),
        ("🎉", "model"),
        ("a - b", "a-b"),
        ("ge\u0301ne\u0301ral", "général"),
        ("हिन्दी बातचीत", "हिन्दी-बातचीत"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("💬│général-日本語", "général-日本語"),
        ("a\u202eb\u200dc", "abc"),
        ("../../etc/passwd", "etc-passwd"),
        ("**@everyone** <@1> [a](https://b)", "everyone-1-a-https-b"),
        ("\u0301\u0301", "model"),
        ("ﷺ" * 40, "صلى-الله-عليه-وسلمصلى-ال"),
        ("x" * 40, "x" * 24),
    ],
)
async def test_a_free_name_resembles_the_wish(registry: Registry, wish: str, name: str):
    for taken in ("kept", "kept-2"):
        await make(registry, name=taken)
    job = await create(registry, name="soon")
    assert await registry.free_name(GLOBE, wish) == name
    await registry.end(GLOBE, job.id, JobState.CANCELLED, "Why.")
    await create(registry, name=name)


async def test_a_guild_finds_nothing_of_another_guild(registry: Registry):
    model = await make(registry)
    await registry.use(GLOBE, model.id)
    job = await train(registry, name="job")
    assert await registry.models(ROSE) == ()
    assert await registry.model_in_use(ROSE) is None
    assert await registry.find_model(ROSE, model.id) is None
    of_models = (registry.model, registry.use, registry.roll_back, registry.delete)
    for asked in (
        *(method(ROSE, model.id) for method in of_models),
        registry.rename(ROSE, model.id, "theirs"),
        registry.model_named(ROSE, "mine"),
    ):
        with pytest.raises(BotError, match="no such model"):
            await asked
    for asked in (
        registry.job(ROSE, job.id),
        registry.enqueue(ROSE, job.id),
        registry.requeue(ROSE, job.id),
        registry.end(ROSE, job.id, JobState.CANCELLED, "Why."),
        registry.finish(ROSE, job.id, SCORES, 1),
    ):
        with pytest.raises(BotError, match="no such training"):
            await asked
    assert (await registry.model_in_use(GLOBE)).id == model.id


async def test_the_table_lets_no_guild_use_the_model_of_another(registry: Registry):
    model = await make(registry)
    with pytest.raises(RegistryError), registry.database.writing() as db:
        db.execute("INSERT INTO activations (guild_id, model_id) VALUES (?, ?)", (ROSE, model.id))


async def test_folders_are_those_of_models_and_unfinished_jobs(registry: Registry):
    model, deleted = await make(registry, name="a"), await make(registry, name="b")
    await registry.delete(GLOBE, deleted.id)
    cancelled, interrupted = await create(registry, 1), await train(registry, 2)
    await registry.end(1, cancelled.id, JobState.CANCELLED, "Why.")
    await registry.end(2, interrupted.id, JobState.INTERRUPTED, "Why.")
    ready = await prepare(registry, ROSE)
    assert await registry.folders() == {model.folder, interrupted.folder, ready.folder}
