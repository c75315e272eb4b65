from bot.identifying import HOUR_S, IdentifyPace

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
    pace = IdentifyPace(clock)
    waits = [begin(pace, clock) for _ in range(14)]
    assert waits == [0, 5, 5, 5, 5, 5, 5, 10, 20, 40, 80, 160, 300, 300]


def test_a_shard_whose_sessions_all_end_at_once_stays_far_below_a_thousand_a_day():
    clock = Clock()
    pace = IdentifyPace(clock)
    begun = 0
    while clock.now < DAY_S:
        begin(pace, clock)
        begun += 1
    assert begun < 500


def test_after_a_quiet_hour_a_session_may_begin_at_once():
    clock = Clock()
    pace = IdentifyPace(clock)
    for _ in range(14):
        begin(pace, clock)
    clock.now += HOUR_S
    assert pace.wait_s(0) == 0


def test_each_shard_has_its_own_pace():
    clock = Clock()
    pace = IdentifyPace(clock)
    for _ in range(14):
        begin(pace, clock)
    assert pace.wait_s(1) == 0
