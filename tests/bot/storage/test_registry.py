from pathlib import Path

import pytest

from bot.errors import BotError, NotFoundError, RegistryError
from bot.storage.records import StoredModel
from bot.storage.registry import Registry
from tests.bot.guilds import (
    ADMIN,
    ANN,
    BEN,
    DAY_S,
    GLOBE,
    ROSE,
    SCORES,
    Clock,
    make,
    prepare,
    queue,
    train,
)


def test_the_end_of_a_job_is_a_candidate(registry: Registry, clock: Clock):
    model = make(registry)
    assert model == StoredModel(
        id=1,
        guild_id=GLOBE,
        name="mine",
        base="chat",
        source="#general, the last 10,000 messages",
        created_at=int(clock.now),
        size_bytes=14_000_000,
        scores=SCORES,
        in_use=False,
    )
    assert model.folder == registry.job(GLOBE, model.id).folder
    assert registry.models(GLOBE) == (model,)
    assert registry.model_in_use(GLOBE) is None


def test_what_was_written_is_there_when_the_file_is_opened_again(tmp_path: Path):
    with Registry(tmp_path / "registry.db") as registry:
        model = registry.use(GLOBE, make(registry, GLOBE, "mine", ANN).id)
    with Registry(tmp_path / "registry.db") as registry:
        assert registry.model_in_use(GLOBE) == model
        assert registry.kept_about(ANN).models == (model,)


def in_use(registry: Registry) -> str | None:
    model = registry.model_in_use(GLOBE)
    assert [m for m in registry.models(GLOBE) if m.in_use] == ([model] if model else [])
    return model and model.name


def use(registry: Registry, names: str) -> None:
    """Put models a, b, c to use, one after another."""
    for name in names:
        registry.use(GLOBE, registry.model_named(GLOBE, name).id)


@pytest.mark.parametrize(
    ("used", "rolled_back"),
    [
        ("a", [None]),
        ("ab", ["a", None]),
        ("abc", ["b", "a", None]),
        ("aba", ["b", "a", None]),
        ("abb", ["a", None]),  # used twice is used once
    ],
)
def test_rolling_back_goes_back_step_by_step(
    registry: Registry, used: str, rolled_back: list[str | None]
):
    for name in "abc":
        make(registry, name=name)
    use(registry, used)
    for expected in rolled_back:
        model = registry.roll_back(GLOBE, registry.model_in_use(GLOBE).id)
        assert (model and model.name) == expected == in_use(registry)


def test_rolling_back_twice_from_one_model_goes_back_once(registry: Registry):
    models = [make(registry, name=name) for name in "abc"]
    use(registry, "abc")
    registry.roll_back(GLOBE, models[2].id)
    with pytest.raises(BotError, match="c is not in use"):
        registry.roll_back(GLOBE, models[2].id)
    assert in_use(registry) == "b"


def test_what_is_used_after_rolling_back_rolls_back_to_where_that_led(registry: Registry):
    _, b, c = (make(registry, name=name) for name in "abc")
    use(registry, "ab")
    registry.roll_back(GLOBE, b.id)
    use(registry, "c")
    assert registry.roll_back(GLOBE, c.id).name == "a"


@pytest.mark.parametrize(
    ("used", "deleted", "now", "rolled_back"),
    [
        ("abc", "c", "b", "a"),
        ("abc", "b", "c", "a"),
        ("ba", "b", "a", None),
        ("cabab", "b", "a", "c"),  # not from a to a
    ],
)
def test_deleting_a_model_falls_back_to_the_one_before(
    registry: Registry, used: str, deleted: str, now: str, rolled_back: str | None
):
    for name in "abc":
        make(registry, name=name)
    use(registry, used)
    registry.delete(GLOBE, registry.model_named(GLOBE, deleted).id)
    assert in_use(registry) == now
    registry.roll_back(GLOBE, registry.model_named(GLOBE, now).id)
    assert in_use(registry) == rolled_back


def test_deleting_the_only_one_that_was_used_falls_back_to_the_default(registry: Registry):
    registry.delete(GLOBE, registry.use(GLOBE, make(registry).id).id)
    assert in_use(registry) is None


def test_what_is_in_use_is_not_discarded(registry: Registry):
    model = registry.use(GLOBE, make(registry).id)
    with pytest.raises(BotError, match="mine is in use"):
        registry.delete(GLOBE, model.id, discard=True)
    registry.roll_back(GLOBE, model.id)
    registry.delete(GLOBE, model.id, discard=True)
    assert registry.models(GLOBE) == ()


def test_a_deleted_model_is_gone_and_names_its_folder(registry: Registry):
    model = make(registry)
    assert registry.delete(GLOBE, model.id).folder == f"models/{GLOBE}/{model.id}"
    with pytest.raises(NotFoundError, match="no such model"):
        registry.model(GLOBE, model.id)
    assert make(registry).id > model.id  # a number, and so a folder, is never used again


@pytest.mark.parametrize(
    "name",
    ["", "a" * 33, "a b", "a/b", "..", "a\n", "@everyone", "**", "CHAT", "othello", "Kept"],
)
def test_a_name_that_is_wrong_or_taken_is_refused(registry: Registry, name: str):
    make(registry, name="kept")
    other = make(registry, name="other")
    with pytest.raises(BotError, match="Choose another"):
        registry.rename(GLOBE, other.id, name)
    with pytest.raises(BotError, match="Choose another"):
        prepare(registry, name=name)
    assert [model.name for model in registry.models(GLOBE)] == ["kept", "other"]


@pytest.mark.parametrize("name", ["a", "Mine-2_b", "x" * 32, "général", "日本語", "KEPT"])
def test_a_model_is_renamed_and_found_by_its_name(registry: Registry, name: str):
    model = make(registry, name="kept")
    assert registry.rename(GLOBE, model.id, name).name == name
    assert registry.model_named(GLOBE, name.swapcase()).id == model.id


def test_names_that_differ_in_case_or_in_how_an_accent_is_written_are_one(registry: Registry):
    make(registry, name="Général")
    with pytest.raises(BotError, match="Choose another"):
        prepare(registry, name="ge\u0301ne\u0301ral")
    make(registry, ROSE, name="général")  # another guild's names are its own


def test_the_name_of_a_model_to_be_is_taken(registry: Registry):
    model = make(registry, name="first")
    job = train(registry, name="second")
    with pytest.raises(BotError, match="Choose another"):
        registry.rename(GLOBE, model.id, "Second")
    registry.cancel(GLOBE, job.id)
    registry.rename(GLOBE, model.id, "Second")


def test_a_guild_finds_nothing_of_another_guild(registry: Registry):
    model = make(registry)
    registry.use(GLOBE, model.id)
    job = train(registry, name="job")
    assert registry.models(ROSE) == ()
    assert registry.model_in_use(ROSE) is None
    for question in (registry.model, registry.use, registry.roll_back, registry.delete):
        with pytest.raises(NotFoundError):
            question(ROSE, model.id)
    with pytest.raises(NotFoundError):
        registry.rename(ROSE, model.id, "theirs")
    with pytest.raises(NotFoundError):
        registry.model_named(ROSE, "mine")
    for question in (registry.job, registry.enqueue, registry.interrupt, registry.cancel):
        with pytest.raises(NotFoundError, match="no such training"):
            question(ROSE, job.id)
    with pytest.raises(NotFoundError):
        registry.finish(ROSE, job.id, SCORES, 1)
    assert registry.model_in_use(GLOBE).id == model.id


def test_not_even_the_table_lets_a_guild_use_the_model_of_another(registry: Registry):
    model = make(registry)
    with pytest.raises(RegistryError), registry._database.writing() as db:
        db.execute("INSERT INTO activations (guild_id, model_id) VALUES (?, ?)", (ROSE, model.id))


def test_the_folders_are_those_of_models_and_of_what_may_yet_be_one(registry: Registry):
    model, deleted = make(registry, name="a"), make(registry, name="b")
    registry.delete(GLOBE, deleted.id)
    registry.cancel(GLOBE, prepare(registry).id)
    interrupted = registry.interrupt(GLOBE, train(registry).id)
    preparing = prepare(registry, ROSE)
    assert registry.folders() == {model.folder, interrupted.folder, preparing.folder}


def test_people_opt_out_and_in(registry: Registry, clock: Clock):
    registry.opt_out(ANN)
    first = int(clock.now)
    clock.now += DAY_S
    registry.opt_out(ANN)
    assert registry.opted_out() == {ANN}
    assert registry.kept_about(ANN).opted_out_at == first
    registry.opt_in(ANN)
    assert registry.opted_out() == frozenset()
    assert registry.kept_about(ANN).opted_out_at is None


def test_a_person_is_told_what_holds_their_texts_and_what_they_asked_for(registry: Registry):
    theirs = make(registry, ROSE, "a", ANN, BEN)
    also = make(registry, GLOBE, "b", ANN)
    make(registry, GLOBE, "c", BEN)
    learning = queue(registry, GLOBE, "d", ANN)
    kept = registry.kept_about(ANN)
    assert kept.models == (also, theirs)
    assert kept.learning == (learning,)
    assert kept.asked_for == ()
    assert [job.name for job in registry.kept_about(ADMIN).asked_for] == ["b", "c", "d", "a"]


def test_what_was_given_up_or_deleted_holds_nobodys_texts(registry: Registry):
    registry.cancel(GLOBE, train(registry, GLOBE, "a", ANN).id)
    registry.fail(GLOBE, train(registry, GLOBE, "b", ANN).id, "Why.")
    registry.delete(GLOBE, make(registry, GLOBE, "c", ANN).id)
    with registry._database.reading() as db:
        assert db.execute("SELECT count(*) FROM authors").fetchone()[0] == 0


def test_an_interrupted_job_still_holds_its_authors_texts(registry: Registry):
    job = registry.interrupt(GLOBE, train(registry, GLOBE, "a", ANN).id)
    assert registry.kept_about(ANN).learning == (job,)
    registry.enqueue(GLOBE, job.id)
    registry.start_next(1)
    model = registry.finish(GLOBE, job.id, SCORES, 1)
    assert registry.kept_about(ANN).models == (model,)


def test_a_guild_is_to_be_forgotten_when_the_grace_is_over(registry: Registry, clock: Clock):
    registry.mark_removed(GLOBE)
    clock.now += DAY_S
    registry.mark_removed(GLOBE)
    registry.mark_removed(ROSE)
    assert registry.guilds_to_forget(grace_s=DAY_S + 1) == ()
    assert registry.guilds_to_forget(grace_s=DAY_S) == (GLOBE,)
    registry.mark_present(GLOBE)
    assert registry.guilds_to_forget(grace_s=DAY_S) == ()


def test_of_a_forgotten_guild_nothing_is_left_and_others_are_untouched(registry: Registry):
    kept = registry.use(ROSE, make(registry, ROSE, "a", ANN).id)
    registry.use(GLOBE, make(registry, GLOBE, "a", ANN).id)
    queue(registry, GLOBE, "b", ANN)
    registry.mark_removed(GLOBE)
    registry.opt_out(ANN)
    assert registry.forget_guild(GLOBE) == f"models/{GLOBE}"
    assert registry.guilds() == {ROSE}
    assert registry.kept_about(ANN).models == (kept,)
    with registry._database.reading() as db:
        counts = db.execute(
            "SELECT (SELECT count(*) FROM jobs), (SELECT count(*) FROM models),"
            " (SELECT count(*) FROM activations), (SELECT count(*) FROM authors),"
            " (SELECT count(*) FROM removals), (SELECT count(*) FROM opt_outs)"
        ).fetchone()
    assert tuple(counts) == (1, 1, 1, 1, 0, 1)


def test_a_guild_that_invites_the_bot_again_is_not_forgotten(registry: Registry):
    model = make(registry)
    registry.mark_removed(GLOBE)
    registry.mark_present(GLOBE)
    assert registry.forget_guild(GLOBE) is None
    assert registry.models(GLOBE) == (model,)
