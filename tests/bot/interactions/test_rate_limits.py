import pytest

from bot.errors import BotError
from bot.interactions.rate_limits import HOUR_S, Cooldown, IdentifyPace

DAY_S = 24 * HOUR_S


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def begin(pace: IdentifyPace, clock: Clock, shard: int = 0) -> float:
    """Identify as soon as allowed; returns the seconds waited."""
    wait_s = pace.wait_s(shard)
    clock.now += wait_s
    pace.begin(shard)
    return wait_s


def test_six_sessions_begin_soon_and_then_the_pauses_double():
    clock = Clock()
    pace = IdentifyPace(1, clock)
    waits = [begin(pace, clock) for _ in range(14)]
    assert waits == [0, 5, 5, 5, 5, 5, 5, 10, 20, 40, 80, 160, 300, 300]


@pytest.mark.parametrize("shards", [1, 4, 16])
def test_all_shards_together_identify_less_than_a_thousand_times_a_day(
    shards: int,
):
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


def test_a_shard_does_not_wait_for_another_one():
    clock = Clock()
    pace = IdentifyPace(2, clock)
    for _ in range(14):
        begin(pace, clock)
    assert pace.wait_s(1) == 0


def test_a_person_waits_and_others_do_not():
    now = 100.0
    cooldown = Cooldown(3, clock=lambda: now)
    cooldown.check(1)
    now = 101.0
    cooldown.check(2)
    with pytest.raises(BotError, match=r"2\.0 seconds"):
        cooldown.check(1)
    now = 103.0
    cooldown.check(1)


def test_without_a_cooldown_nobody_waits():
    cooldown = Cooldown(0, clock=lambda: 100.0)
    cooldown.check(1)
    cooldown.check(1)
