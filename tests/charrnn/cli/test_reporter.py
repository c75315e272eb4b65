import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from charrnn.cli.reporter import ProgressFormat, Reporter
from charrnn.errors import TrainingError
from charrnn.training.events import EpochEnd, Event, Finished, Progress, Warned

UNDER_WAY = Progress(2, 5, 0.25, 1.5, 10_000.0, 61.0)
ENDED = EpochEnd(2, 5, 1.45, 1.4321, 0.4, True, 10_000.0, 60.0, "[b]HERO:\nSo be it.")


def report(style: ProgressFormat, voice: float | None = 0.4) -> str:
    """What a terminal is shown of a run."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, color_system=None)
    with Reporter(style, console) as reporter:
        reporter(Warned("Not many."))
        reporter(replace(ENDED, voice=voice))
        reporter(UNDER_WAY)
        scores = {"held out": {"nats": 1.4321}}
        reporter(Finished("model", scores, 1.5, voice, standard_error=0.02, voice_error=0.06))
    return screen.getvalue()


def test_people_see_epoch_losses_speed_time_left_and_a_sample():
    shown = report(ProgressFormat.RICH)
    for part in ("Not many.", "2/5", "25%", "loss 1.5000, 10,000 characters/s, 0:01:01 left"):
        assert part in shown
    assert "loss 1.4500  validation loss 1.4321 (best)  voice 0.40  10,000 characters/s" in shown
    assert "[b]HERO:\nSo be it." in shown
    assert (
        "model: 1.4321 nats per character on held-out text (its base: 1.5000; standard error of "
        "the difference: 0.0200), voice 0.40 ± 0.12 (0" in shown
    )


@pytest.mark.parametrize(
    ("last", "shown"),
    [
        (replace(UNDER_WAY, epoch=5, done=1.0), "0:01:01 left, measuring"),
        (replace(ENDED, epoch=5), "0:01:00 left to write the model"),
    ],
)
def test_people_see_what_an_epoch_that_is_trained_waits_for(last: Event, shown: str):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, color_system=None)
    with Reporter(ProgressFormat.RICH, console) as reporter:
        reporter(UNDER_WAY)
        reporter(last)
    assert f"{shown}\n" in screen.getvalue()


def test_a_voice_that_could_not_be_measured_is_not_mentioned():
    shown = report(ProgressFormat.RICH, voice=None)
    assert "validation loss 1.4321 (best)  10,000 characters/s  0:01:00 left" in shown
    assert "the difference: 0.0200)." in shown


def test_machines_get_the_same_as_json_lines(capsys: pytest.CaptureFixture[str]):
    assert report(ProgressFormat.JSON) == ""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["warning", "epoch", "progress", "finished"]
    assert lines[0]["message"] == "Not many."
    assert lines[1]["sample"] == ENDED.sample
    assert lines[2]["done"] == 0.25
    assert lines[3]["scores"] == {"held out": {"nats": 1.4321}}
    assert (lines[3]["base_nats"], lines[3]["voice"]) == (1.5, 0.4)


def test_machines_are_told_of_a_failure(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(TrainingError), Reporter(ProgressFormat.JSON, Console(stderr=True)):
        raise TrainingError("The loss became nan.")
    assert json.loads(capsys.readouterr().out) == {
        "event": "error",
        "message": "The loss became nan.",
    }


def test_nothing_is_shown_where_nothing_is_wanted(capsys: pytest.CaptureFixture[str]):
    assert report(ProgressFormat.NONE) == ""
    assert capsys.readouterr().out == ""
