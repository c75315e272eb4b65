import sys
from collections.abc import Callable

import pytest

from charrnn.cli import commands


@pytest.fixture
def charrnn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs the command with arguments. Returns what it prints, or its error where it `fails`."""

    def run(*arguments: object, fails: bool = False) -> str:
        monkeypatch.setattr(sys, "argv", ["charrnn", *map(str, arguments)])
        code = 0
        try:
            commands.main()
        except SystemExit as exit_:
            code = exit_.code
        printed, said = capsys.readouterr()
        assert code in ((1, 2) if fails else (0,)), said
        return said if fails else printed

    return run
