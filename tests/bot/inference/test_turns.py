from pathlib import Path

from bot.inference.turns import SERVER_LIMIT, Turns
from bot.models.reference import ModelReference

ONE, OTHER = (ModelReference(name, Path(name), 100) for name in ("one", "other"))
BUSY, QUIET = 1, 2


def turns_with(*requests: tuple[int, ModelReference, str], batch_limit: int = 32) -> Turns[str]:
    turns: Turns[str] = Turns(batch_limit)
    for request in requests:
        turns.add(*request)
    return turns


def test_requests_of_one_server_keep_their_order():
    turns = turns_with(*((BUSY, ONE, str(n)) for n in range(20)))
    assert turns.take().requests == [str(n) for n in range(SERVER_LIMIT)]
    assert turns.take().requests == [str(n) for n in range(SERVER_LIMIT, 2 * SERVER_LIMIT)]
    assert len(turns) == 20 - 2 * SERVER_LIMIT


def test_a_batch_ends_when_a_server_has_no_more_for_it():
    turns = turns_with(
        *((BUSY, ONE, f"busy {n}") for n in range(9)),
        (QUIET, ONE, "quiet 0"),
        (QUIET, ONE, "quiet 1"),
        (QUIET, OTHER, "quiet 2"),
    )
    assert turns.take().requests == ["busy 0", "quiet 0", "busy 1", "quiet 1"]
    assert turns.take().requests == [f"busy {n}" for n in range(2, 9)]
    assert turns.take().requests == ["quiet 2"]


def test_many_servers_fill_a_batch():
    turns = turns_with(*((server, ONE, str(server)) for server in range(40)))
    assert turns.take().servers == list(range(32))
    assert turns.take().servers == list(range(32, 40))


def test_a_server_that_comes_during_a_batch_goes_before_those_in_it():
    turns = turns_with(*((BUSY, ONE, f"busy {n}") for n in range(20)))
    batch = turns.take()
    turns.add(QUIET, OTHER, "quiet")
    turns.written(batch.servers)
    assert turns.take().requests == ["quiet"]


def test_a_server_that_asks_again_and_again_takes_turns_with_the_others():
    turns = turns_with(*((BUSY, ONE, f"busy {n}") for n in range(20)))
    order = []
    for _ in range(4):
        batch = turns.take()
        order += batch.servers
        turns.add(QUIET, OTHER, "again")
        turns.written(batch.servers)
    assert order == [BUSY, QUIET, BUSY, QUIET]


def test_an_outline_gives_the_same_batches_and_leaves_the_requests():
    turns = turns_with((BUSY, ONE, "a"), (QUIET, OTHER, "b"), (BUSY, OTHER, "c"))
    outline = turns.outline()
    outlined = [outline.take() for _ in range(2)]
    assert len(turns) == 3
    assert [(b.model, b.servers) for b in outlined] == [(ONE, [BUSY]), (OTHER, [QUIET, BUSY])]
    assert [turns.take().servers for _ in range(2)] == [[BUSY], [QUIET, BUSY]]
