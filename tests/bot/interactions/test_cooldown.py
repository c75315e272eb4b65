import pytest

from bot.errors import CooldownError
from bot.interactions.cooldown import Cooldown


def test_a_person_waits_and_others_do_not():
    now = 100.0
    cooldown = Cooldown(3, clock=lambda: now)
    cooldown.check(1)
    now = 101.0
    cooldown.check(2)
    with pytest.raises(CooldownError, match=r"2\.0 seconds"):
        cooldown.check(1)
    now = 103.0
    cooldown.check(1)


def test_without_a_cooldown_nobody_waits():
    cooldown = Cooldown(0, clock=lambda: 100.0)
    cooldown.check(1)
    cooldown.check(1)
