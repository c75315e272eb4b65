import pytest

from bot.interactions.identify_pace import HOUR_S, IdentifyPace

DAY_S = 24 * HOUR_S


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def begin(pace: IdentifyPace, clock: Clock, shard: int = 0) -> float:
    """Begin a session as soon as may be; the seconds waited."""
    wait_s = pace.wait_s(shard)
    clock.now += wait_s
    pace.begin(shard)
    return wait_s


def test_the_first_sessions_follow_soon_and_then_the_pauses_grow():
    clock = Clock()
    pace = IdentifyPace(1, clock)
    waits = [begin(pace, clock) for _ in range(14)]
    assert waits == [0, 5, 5, 5, 5, 5, 5, 10, 20, 40, 80, 160, 300, 300]


@pytest.mark.parametrize("shards", [1, 4, 16])
def test_shards_whose_sessions_all_end_at_once_stay_below_a_thousand_a_day_together(shards: int):
    clock = Clock()
    pace = IdentifyPace(shards, clock)
    begun = 0
    while clock.now < DAY_S:
        begin(pace, clock)
        begun += 1
    assert begun * shards < 700


def test_after_a_quiet_hour_a_session_may_begin_at_once():
    clock = Clock()
    pace = IdentifyPace(1, clock)
    for _ in range(14):
        begin(pace, clock)
    clock.now += HOUR_S
    assert pace.wait_s(0) == 0


def test_the_first_session_of_a_shard_waits_for_those_of_no_other():
    clock = Clock()
    pace = IdentifyPace(2, clock)
    for _ in range(14):
        begin(pace, clock)
    assert pace.wait_s(1) == 0
