import pytest

from bot.errors import CooldownError
from bot.interactions import cooldown
from bot.interactions.cooldown import Cooldown


def test_a_person_waits_and_others_do_not():
    now = 100.0
    gate = Cooldown(3, clock=lambda: now)
    gate.check(1)
    now = 101.0
    gate.check(2)
    with pytest.raises(CooldownError, match=r"2\.0 seconds") as refusal:
        gate.check(1)
    assert refusal.value.wait_s == 2.0
    now = 103.0
    gate.check(1)


def test_people_whose_time_is_over_are_forgotten():
    now = 0.0
    gate = Cooldown(3, clock=lambda: now)
    for person in range(cooldown.REMEMBERED):
        gate.check(person)
    now = 3.0
    gate.check(-1)
    assert len(gate._until) == 1
