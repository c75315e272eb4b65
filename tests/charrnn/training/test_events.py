import json

import pytest

from charrnn.training.events import (
    EpochEnd,
    Event,
    Failed,
    Finished,
    Halted,
    Progress,
    Warned,
    json_line,
    parse_event,
)


@pytest.mark.parametrize(
    "event",
    [
        Progress(2, 5, 0.25, 1.5, 10_000.0, 61.0),
        EpochEnd(2, 5, 1.45, 1.4321, 0.4, True, 10_000.0, 60.0, "HERO:\nSo be \u2603."),
        Warned("Not many."),
        Finished("model", {"held out": {"nats": 1.4321}}, base_nats=None, voice=0.4),
        Halted("Stopped in epoch 2."),
        Failed("The loss became nan."),
    ],
)
def test_an_event_survives_its_line(event: Event):
    line = json_line(event)
    assert "\n" not in line
    assert parse_event(line) == parse_event(f"{line}\n".encode()) == event


def test_the_line_of_an_event_names_it():
    assert json.loads(json_line(Halted("Why."))) == {"event": "stopped", "message": "Why."}


@pytest.mark.parametrize(
    "line",
    ["", "WARNING: oneDNN", b"\xff", "5", "[1]", "{}", '{"event": "tea"}', '{"event": "stopped"}'],
)
def test_other_lines_are_no_events(line: str | bytes):
    assert parse_event(line) is None
