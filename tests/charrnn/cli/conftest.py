import sys
from collections.abc import Callable

import pytest

from charrnn.cli import commands


@pytest.fixture
def charrnn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs the command with arguments. Returns what it prints, or its error if it `fails`."""

    def run(*arguments: object, fails: bool = False, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["charrnn", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            commands.main()
        printed, said = capsys.readouterr()
        assert ended.value.code in ((1, 2) if fails else (code,)), said
        return said if fails else printed

    return run
