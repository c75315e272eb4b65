"""The servers' trainings, with runs that take no time."""

import asyncio
import shutil
from pathlib import Path

import pytest

from bot.errors import BotError, NotFoundError, RegistryError
from bot.models.server_models import MODEL_DAMAGED, ServerModels
from bot.storage.files import StateFolder
from bot.storage.records import JobState, TrainingJob
from bot.storage.registry import Registry
from bot.training.preparation import BROKEN
from bot.training.runs import DAMAGED, OPTED_OUT
from bot.training.service import RESTARTED, Retraining
from bot.training.statuses import Candidate, Ended, Learning, Queued, Ready, Sample
from charrnn.store import Model
from charrnn.text.messages import Counts
from tests.bot.guilds import ADMIN, ANN, BEN, CHANNEL, GLOBE, ROSE, SCORES, make
from tests.bot.processes import until
from tests.bot.trainings import EPOCH, PROGRESS, FakeExecutor, FakeRun, reading, reference
from tests.bot.trainings import write_trained as write

ASKED = {"base": "chat", "source": "#general"}


@pytest.fixture
def executor() -> FakeExecutor:
    return FakeExecutor()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def retraining(
    registry: Registry, executor: FakeExecutor, stateful: Model, state: Path
) -> Retraining:
    return started(registry, executor, stateful, state)


def started(
    registry: Registry, executor: FakeExecutor, model: Model, state: Path, keep_texts: bool = False
) -> Retraining:
    models = ServerModels(registry, StateFolder(state), {"chat": reference(model)})
    return Retraining(registry, executor, models, StateFolder(state), keep_texts=keep_texts)


async def ready(
    retraining: Retraining, guild: int = GLOBE, name: str = "mine", author: int = ANN
) -> TrainingJob:
    status = await retraining.create(guild, ADMIN, CHANNEL, name=name, **ASKED)
    await retraining.prepare(status.job, reading(1000, author))
    return status.job


async def learning(
    retraining: Retraining, executor: FakeExecutor, guild: int = GLOBE
) -> tuple[TrainingJob, FakeRun]:
    job = await ready(retraining, guild)
    await retraining.start(guild, job.id)
    await retraining.tick()
    return job, executor.runs[-1]


def files(state: Path) -> set[str]:
    return {str(path.relative_to(state)) for path in state.rglob("*") if path.is_file()} - {
        f"registry.db{end}" for end in ("", "-shm", "-wal")
    }


async def from_a_model_of_its_own(retraining: Retraining, executor: FakeExecutor) -> TrainingJob:
    """A training that starts from the guild's model mine, number 1."""
    _, run = await learning(retraining, executor)
    run.finish()
    await retraining.tick()
    return (await retraining.create(GLOBE, ADMIN, CHANNEL, name="b", base="mine", source="s")).job


async def sampled(retraining: Retraining, job: TrainingJob) -> Candidate:
    """What comes of a training, once its model has written something."""
    await until(lambda: retraining.statuses()[job.id].samples is not None)
    status = retraining.statuses()[job.id]
    assert isinstance(status, Candidate)
    return status


async def test_a_text_is_counted_and_nothing_is_trained_before_train(
    retraining: Retraining, executor: FakeExecutor
):
    job = await ready(retraining)
    await retraining.tick()
    status = retraining.statuses()[job.id]
    assert isinstance(status, Ready)
    assert (status.counts.messages, status.counts.characters) == (1000, 9000)
    assert status.warning
    assert not executor.runs


async def test_a_training_runs_reports_and_ends_as_a_candidate(
    retraining: Retraining, executor: FakeExecutor, registry: Registry, state: Path, stateful: Model
):
    job, run = await learning(retraining, executor)
    assert run.order.text.read_text().startswith("so be it\n")
    assert (run.order.base, run.order.output) == (stateful.folder, state / job.folder)
    run.told = [PROGRESS, EPOCH]
    await retraining.tick()
    assert retraining.statuses()[job.id] == Learning(registry.job(GLOBE, job.id), PROGRESS, EPOCH)
    run.finish()
    await retraining.tick()
    status = await sampled(retraining, job)
    assert status.model.scores == SCORES
    assert status.model.size_bytes > 1000
    assert not status.model.in_use
    assert status.samples[0] == Sample("hi all", "tiny says so", f"{job.id} says so")
    assert not run.order.text.exists()


async def test_texts_are_kept_where_the_operator_wants_them(
    registry: Registry, executor: FakeExecutor, stateful: Model, state: Path
):
    retraining = started(registry, executor, stateful, state, keep_texts=True)
    _, run = await learning(retraining, executor)
    run.finish()
    await retraining.tick()
    await retraining.restore()
    assert run.order.text.exists()


async def test_too_little_text_is_refused_with_what_was_counted(
    retraining: Retraining, registry: Registry, state: Path
):
    status = await retraining.create(GLOBE, ADMIN, CHANNEL, name="mine", **ASKED)
    with pytest.raises(BotError, match=r"90 characters are too few .* 10 messages of 1 person"):
        await retraining.prepare(status.job, reading(10, ANN))
    assert registry.job(GLOBE, status.job.id).state is JobState.FAILED
    assert not files(state)


async def test_a_reader_that_breaks_down_does_not_block_the_server(
    retraining: Retraining, registry: Registry
):
    async def broken(*_: object):
        raise ZeroDivisionError

    status = await retraining.create(GLOBE, ADMIN, CHANNEL, name="mine", **ASKED)
    with pytest.raises(ZeroDivisionError):
        await retraining.prepare(status.job, broken)
    assert registry.job(GLOBE, status.job.id).state is JobState.FAILED


async def test_reading_ends_when_it_is_cancelled(retraining: Retraining, state: Path):
    status = await retraining.create(GLOBE, ADMIN, CHANNEL, name="mine", **ASKED)
    await retraining.cancel(GLOBE, status.job.id, "No.")
    with pytest.raises(BotError, match="cannot be done any more"):
        await retraining.prepare(status.job, reading())
    assert not files(state)


async def test_an_unknown_base_is_refused_before_anything_is_read(retraining: Retraining):
    with pytest.raises(NotFoundError):
        await retraining.create(GLOBE, ADMIN, CHANNEL, name="mine", base="hal", source="#general")
    assert await retraining.active(GLOBE) is None


async def test_a_server_trains_one_model_at_a_time(retraining: Retraining):
    await ready(retraining)
    with pytest.raises(BotError, match="under way already"):
        await ready(retraining, name="other")


async def test_the_machine_trains_one_at_a_time_and_the_others_see_their_place(
    retraining: Retraining, executor: FakeExecutor
):
    _, run = await learning(retraining, executor)
    rose, third = await ready(retraining, ROSE), await ready(retraining, 30)
    for job in (rose, third):
        await retraining.start(job.guild_id, job.id)
    places = [retraining.statuses()[job.id].place for job in (rose, third)]
    assert places == [1, 2]
    run.finish()
    await retraining.tick()
    assert isinstance(retraining.statuses()[rose.id], Learning)
    assert retraining.statuses()[third.id].place == 1


async def test_a_training_that_is_cancelled_leaves_nothing(
    retraining: Retraining, executor: FakeExecutor, registry: Registry, state: Path
):
    job, run = await learning(retraining, executor)
    run.order.checkpoints.mkdir(parents=True)
    run.order.curve.touch()
    await retraining.cancel(GLOBE, job.id, "Cancelled by an admin.")
    assert run.killed
    await retraining.tick()
    assert retraining.statuses()[job.id].sentence == "Cancelled by an admin."
    assert registry.job(GLOBE, job.id).state is JobState.CANCELLED
    assert not files(state)


async def test_what_one_admin_has_cancelled_another_cannot(
    retraining: Retraining, executor: FakeExecutor
):
    job, _ = await learning(retraining, executor)
    await retraining.cancel(GLOBE, job.id, "No.")
    with pytest.raises(BotError, match="marked as cancelled"):
        await retraining.cancel(GLOBE, job.id, "No.")


async def test_a_training_that_breaks_off_can_be_resumed(
    retraining: Retraining, executor: FakeExecutor
):
    job, run = await learning(retraining, executor)
    run.order.checkpoints.mkdir(parents=True)
    run.crash("The memory ran out.")
    await retraining.tick()
    status = retraining.statuses()[job.id]
    assert isinstance(status, Ended) and status.resumable
    assert status.sentence == "The memory ran out."
    await retraining.resume(GLOBE, job.id)
    await retraining.tick()
    assert executor.runs[1].order == run.order


async def test_a_training_that_has_nothing_to_go_on_from_has_failed(
    retraining: Retraining, executor: FakeExecutor, state: Path
):
    job, run = await learning(retraining, executor)
    run.crash("The loss became nan.")
    await retraining.tick()
    status = retraining.statuses()[job.id]
    assert (status.sentence, status.resumable) == ("The loss became nan.", False)
    assert not files(state)


async def test_a_model_that_is_no_good_is_not_given_to_the_server(
    retraining: Retraining, executor: FakeExecutor, registry: Registry
):
    job, run = await learning(retraining, executor)
    run.finish()
    (run.order.output / "card.json").write_text("{}")
    await retraining.tick()
    assert retraining.statuses()[job.id].sentence == DAMAGED
    assert not registry.models(GLOBE)


async def test_a_training_begins_though_the_registry_failed_in_the_middle_of_it(
    retraining: Retraining,
    executor: FakeExecutor,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
):
    job = await ready(retraining)
    await retraining.start(GLOBE, job.id)

    def full(*_: object):
        raise RegistryError("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(registry, "queue", full)  # asked once the job is marked as begun
        with pytest.raises(RegistryError):
            await retraining.tick()
    assert not executor.runs
    await retraining.tick()
    assert executor.runs


async def test_a_training_that_could_not_even_be_read_for_has_failed(
    retraining: Retraining, registry: Registry, monkeypatch: pytest.MonkeyPatch
):
    status = await retraining.create(GLOBE, ADMIN, CHANNEL, name="mine", **ASKED)

    def full(*_: object):
        raise RegistryError("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(registry, "opted_out", full)
        patch.setattr(registry, "fail", full)
        with pytest.raises(RegistryError):
            await retraining.prepare(status.job, reading())
    await retraining.tick()
    assert retraining.statuses()[status.job.id].sentence == BROKEN


@pytest.mark.parametrize("author", [10**20, 2**63])
async def test_authors_whose_numbers_are_no_ids_keep_nobody_from_training(
    retraining: Retraining, executor: FakeExecutor, author: int
):
    job = await ready(retraining, author=author)
    await retraining.start(GLOBE, job.id)
    await retraining.tick()
    assert executor.runs


async def test_an_opting_out_that_was_cut_short_is_finished_at_the_next_start(
    retraining: Retraining,
    executor: FakeExecutor,
    registry: Registry,
    stateful: Model,
    state: Path,
):
    job = await ready(retraining, author=BEN)
    await retraining.start(GLOBE, job.id)
    registry.opt_out(BEN)  # and the bot is killed
    again = started(registry, executor, stateful, state)
    await again.restore()
    await again.tick()
    assert again.statuses()[job.id].sentence == OPTED_OUT
    assert not executor.runs
    assert not files(state)


async def test_nothing_begins_to_learn_from_somebody_who_has_opted_out(
    retraining: Retraining, executor: FakeExecutor, registry: Registry
):
    job = await ready(retraining, author=BEN)
    await retraining.start(GLOBE, job.id)
    registry.opt_out(BEN)  # and what follows from that fails
    await retraining.tick()
    assert retraining.statuses()[job.id].sentence == OPTED_OUT
    assert not executor.runs


async def test_what_is_read_after_a_cancelling_that_was_shown_is_deleted_too(
    retraining: Retraining, state: Path
):
    status = await retraining.create(GLOBE, ADMIN, CHANNEL, name="mine", **ASKED)

    async def read(path: Path, *_: object) -> Counts:
        await retraining.cancel(GLOBE, status.job.id, "Cancelled by <@1>.")
        await retraining.mark_shown(retraining.statuses()[status.job.id])
        await asyncio.to_thread(path.write_text, "so be it\n")
        return Counts(1000, 9000)

    with pytest.raises(BotError, match="cannot be done any more"):
        await retraining.prepare(status.job, read)
    assert not files(state)


async def test_who_has_cancelled_a_training_is_shown_and_not_kept(
    retraining: Retraining, registry: Registry
):
    job = await ready(retraining)
    await retraining.cancel(GLOBE, job.id, "Cancelled by <@1>.")
    assert retraining.statuses()[job.id].sentence == "Cancelled by <@1>."
    assert registry.job(GLOBE, job.id).ending == "It was cancelled."


async def test_what_was_under_way_is_interrupted_where_nothing_may_be_trained_any_more(
    retraining: Retraining,
    executor: FakeExecutor,
    registry: Registry,
    stateful: Model,
    state: Path,
):
    job, _ = await learning(retraining, executor)
    again = started(registry, executor, stateful, state)
    await again.restore("Not here.")
    await again.tick()
    assert len(executor.runs) == 1
    assert again.statuses()[job.id].sentence == "Not here."


async def test_what_a_training_comes_to_is_shown_though_the_bot_ends_meanwhile(
    retraining: Retraining,
    executor: FakeExecutor,
    registry: Registry,
    stateful: Model,
    state: Path,
):
    _, run = await learning(retraining, executor)
    run.finish()
    await retraining.tick()
    for shown in (False, True):
        again = started(registry, executor, stateful, state)
        await again.restore()
        statuses = list(again.statuses().values())
        assert [status.model.name for status in statuses] == ([] if shown else ["mine"])
        for status in statuses:
            await again.mark_shown(status)


async def test_one_that_was_interrupted_keeps_its_reason_and_is_shown_once(
    retraining: Retraining,
    executor: FakeExecutor,
    registry: Registry,
    stateful: Model,
    state: Path,
):
    job, run = await learning(retraining, executor)
    run.order.checkpoints.mkdir(parents=True)
    run.crash("The memory ran out.")
    await retraining.tick()
    await retraining.mark_shown(retraining.statuses()[job.id])
    again = started(registry, executor, stateful, state)
    await again.restore()
    assert again.statuses() == {}
    status = await again.active(GLOBE)
    assert status.resumable and status.sentence == "The memory ran out."


async def test_a_base_that_is_renamed_meanwhile_is_still_the_base(
    retraining: Retraining, executor: FakeExecutor, registry: Registry, state: Path
):
    job = await from_a_model_of_its_own(retraining, executor)
    await retraining.prepare(job, reading())
    model = registry.rename(GLOBE, 1, "other")
    await retraining.start(GLOBE, job.id)
    await retraining.tick()
    assert executor.runs[-1].order.base == state / model.folder


async def test_a_base_that_was_deleted_meanwhile_is_named_as_the_reason(
    retraining: Retraining, executor: FakeExecutor, registry: Registry
):
    job = await from_a_model_of_its_own(retraining, executor)
    await retraining.prepare(job, reading())
    registry.delete(GLOBE, 1)
    await retraining.start(GLOBE, job.id)
    await retraining.tick()
    assert retraining.statuses()[job.id].sentence == str(NotFoundError("model"))


@pytest.mark.parametrize("when", ["before it is read", "before it trains"])
async def test_a_damaged_base_ends_it_and_is_in_the_log(
    retraining: Retraining,
    executor: FakeExecutor,
    registry: Registry,
    state: Path,
    caplog: pytest.LogCaptureFixture,
    when: str,
):
    job = await from_a_model_of_its_own(retraining, executor)
    card = state / registry.models(GLOBE)[0].folder / "card.json"
    if when == "before it is read":
        card.write_text("{")
        with pytest.raises(BotError, match="is damaged"):
            await retraining.prepare(job, reading())
    else:
        await retraining.prepare(job, reading())
        card.write_text("{")
        await retraining.start(GLOBE, job.id)
        await retraining.tick()
    assert retraining.statuses()[job.id].sentence == MODEL_DAMAGED.format("mine")
    assert str(card) in caplog.text


async def test_what_cannot_be_written_down_is_tried_again(
    retraining: Retraining,
    executor: FakeExecutor,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
):
    job, run = await learning(retraining, executor)
    run.finish()

    def full(*_: object):
        raise RegistryError("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(registry, "finish", full)
        with pytest.raises(RegistryError):
            await retraining.tick()
    await retraining.tick()
    assert isinstance(retraining.statuses()[job.id], Candidate)


async def test_a_base_that_is_deleted_meanwhile_costs_the_samples_and_not_the_model(
    retraining: Retraining, executor: FakeExecutor, registry: Registry, state: Path
):
    job = await from_a_model_of_its_own(retraining, executor)
    await retraining.prepare(job, reading())
    await retraining.start(GLOBE, job.id)
    await retraining.tick()
    executor.runs[-1].finish()
    shutil.rmtree(state / registry.delete(GLOBE, 1).folder)
    await retraining.tick()
    assert (await sampled(retraining, job)).samples == ()
    assert [model.name for model in registry.models(GLOBE)] == ["b"]


async def test_whoever_opts_out_while_a_channel_is_read_is_not_learnt_from(
    retraining: Retraining, registry: Registry, state: Path
):
    status = await retraining.create(GLOBE, ADMIN, CHANNEL, name="mine", **ASKED)
    registry.opt_out(ANN)
    with pytest.raises(BotError, match="opted out"):
        await retraining.prepare(status.job, reading(1000, ANN))
    assert not files(state)


class TestRestarted:
    """What the next bot makes of the state that one has left which was killed."""

    @pytest.fixture
    def after(
        self, registry: Registry, executor: FakeExecutor, stateful: Model, state: Path
    ) -> Retraining:
        return started(registry, executor, stateful, state)

    async def test_a_training_goes_on(
        self, retraining: Retraining, after: Retraining, executor: FakeExecutor
    ):
        job, run = await learning(retraining, executor)
        run.order.checkpoints.mkdir(parents=True)
        await after.restore()
        await after.tick()
        assert isinstance(after.statuses()[job.id], Learning)
        assert executor.runs[1].order == run.order

    async def test_one_that_had_finished_is_not_trained_again(
        self, retraining: Retraining, after: Retraining, executor: FakeExecutor
    ):
        job, run = await learning(retraining, executor)
        run.finish()
        await after.restore()
        await after.tick()
        assert isinstance(after.statuses()[job.id], Candidate)
        assert len(executor.runs) == 1

    async def test_those_that_wait_go_on_waiting(self, retraining: Retraining, after: Retraining):
        job = await ready(retraining)
        await retraining.start(GLOBE, job.id)
        await after.restore()
        assert isinstance(after.statuses()[job.id], Queued)

    async def test_a_text_that_waited_for_train_is_deleted_and_its_admin_told(
        self, retraining: Retraining, after: Retraining, state: Path
    ):
        job = await ready(retraining)
        await after.restore()
        assert after.statuses()[job.id].sentence == RESTARTED
        assert not files(state)

    async def test_what_belongs_to_nothing_is_deleted_and_nothing_else(
        self, retraining: Retraining, after: Retraining, executor: FakeExecutor, state: Path
    ):
        job, run = await learning(retraining, executor)
        run.finish()
        await retraining.tick()
        run.order.curve.touch()
        kept = files(state)
        write(run.order.base, state / "models" / "10" / "77")
        (state / "models" / "10" / f".{job.id}.new").mkdir()
        (state / "texts" / "77.txt").touch()
        await after.restore()
        assert files(state) == kept
        assert not (state / "models" / "10" / f".{job.id}.new").exists()


async def test_the_text_of_somebody_who_opts_out_before_train_is_not_learnt_from(
    retraining: Retraining, registry: Registry, state: Path
):
    job = await ready(retraining, author=ANN)
    registry.opt_out(ANN)
    with pytest.raises(BotError, match="opted out"):
        await retraining.start(GLOBE, job.id)
    assert not files(state)


@pytest.mark.parametrize("started", [False, True])
async def test_opting_out_ends_the_trainings_that_hold_ones_texts(
    retraining: Retraining, state: Path, started: bool
):
    hers = await ready(retraining, GLOBE, author=ANN)
    his = await ready(retraining, ROSE, author=BEN)
    if started:
        await retraining.start(GLOBE, hers.id)
    await retraining.without(ANN)
    assert retraining.statuses()[hers.id].sentence == OPTED_OUT
    assert files(state) == {f"texts/{his.id}.txt"}


async def test_opting_out_names_the_models_and_drops_their_texts(
    registry: Registry, executor: FakeExecutor, stateful: Model, state: Path
):
    retraining = started(registry, executor, stateful, state, keep_texts=True)
    job, run = await learning(retraining, executor)
    run.finish()
    await retraining.tick()
    assert [model.id for model in await retraining.without(ANN)] == [job.id]
    assert not run.order.text.exists()
    assert await retraining.without(BEN) == ()


async def test_texts_that_nobody_asks_for_are_deleted_in_time(
    retraining: Retraining, executor: FakeExecutor, clock, state: Path
):
    await ready(retraining, GLOBE)
    job, run = await learning(retraining, executor, ROSE)
    run.order.checkpoints.mkdir(parents=True)
    run.crash()
    await retraining.tick()
    await retraining.expire(clock.now + 20 * 3600)
    assert len(files(state)) == 2
    await retraining.expire(clock.now + 30 * 3600)
    assert files(state) == {f"texts/{job.id}.txt"}
    await retraining.expire(clock.now + 8 * 86_400)
    assert not files(state)


async def test_a_server_is_forgotten_with_all_that_it_had(
    retraining: Retraining, executor: FakeExecutor, registry: Registry, state: Path
):
    _, run = await learning(retraining, executor)
    run.finish()
    await retraining.tick()
    await ready(retraining, name="second")
    registry.mark_removed(GLOBE)
    await retraining.forget_guild(GLOBE)
    assert not files(state)
    assert not registry.guilds()


async def test_when_the_bot_stops_trainings_are_asked_to_and_those_that_do_not_are_killed(
    retraining: Retraining, executor: FakeExecutor, registry: Registry
):
    job, run = await learning(retraining, executor)
    closing = asyncio.create_task(retraining.close(grace_s=0.2))
    await closing
    assert run.asked_to_stop and run.killed
    await retraining.tick()
    assert registry.job(GLOBE, job.id).state is JobState.TRAINING  # and so it goes on


async def test_what_starts_from_a_model_has_learnt_from_the_same_people(
    retraining: Retraining, registry: Registry, state: Path, stateful: Model
):
    write(stateful.folder, state / make(registry, GLOBE, "base", BEN).folder)
    asked = ASKED | {"base": "Base"}
    status = await retraining.create(GLOBE, ADMIN, CHANNEL, name="mine", **asked)
    await retraining.prepare(status.job, reading(1000, ANN))
    await retraining.start(GLOBE, status.job.id)
    for person in (ANN, BEN):
        assert status.job.id in {job.id for job in registry.kept_about(person).learning}


async def test_nothing_starts_from_a_model_that_learnt_from_somebody_who_opted_out(
    retraining: Retraining, registry: Registry, state: Path, stateful: Model
):
    write(stateful.folder, state / make(registry, GLOBE, "base", BEN).folder)
    registry.opt_out(BEN)
    with pytest.raises(BotError, match="Choose another one"):
        await retraining.create(GLOBE, ADMIN, CHANNEL, name="mine", **ASKED | {"base": "base"})
    assert registry.unfinished() == ()
