"""What is deployed: the systemd unit, the container, and the commands that the papers give."""

import asyncio
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.operations.systemd import CLOSING_S
from bot.settings import _READERS, Settings
from tests.bot.processes import PATIENCE_S
from tests.discord_server import TOKEN, DiscordServer

ROOT = Path(__file__).parent.parent
UNIT = ROOT / "deploy" / "charrnn-bot.service"
DOCKERFILE = ROOT / "Dockerfile"
SYSTEMD_254 = ("RestartSteps", "RestartMaxDelaySec")
WORST_EXPOSURE = 2.0  # of 10, "OK" begins at 4.9

analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze is installed"
)


def unit() -> dict[str, list[str]]:
    """The service's settings, each with all its values."""
    values: dict[str, list[str]] = {}
    lines = UNIT.read_text().partition("[Service]")[2].partition("[Install]")[0].splitlines()
    for line in lines:
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            values.setdefault(name, []).append(value)
    return values


def systemd_analyze(*arguments: str | Path) -> tuple[int, str]:
    result = subprocess.run(
        ["systemd-analyze", *arguments],  # noqa: S607 - where it is differs
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    return result.returncode, result.stdout + result.stderr


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit with programs that are there."""
    text = UNIT.read_text().replace(unit()["ExecStart"][0].split()[0], sys.executable)
    path = tmp_path / UNIT.name
    path.write_text(text)
    return path


@analyze
def test_systemd_knows_every_line_of_the_unit(installed: Path):
    code, said = systemd_analyze("verify", "--man=no", installed)
    # Older ones leave these two out, and say so.
    complaints = [line for line in said.splitlines() if not any(n in line for n in SYSTEMD_254)]
    assert (code, complaints) == (0, [])


@analyze
def test_the_unit_leaves_little_exposed(installed: Path):
    _, said = systemd_analyze("security", "--offline=true", "--no-pager", installed)
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
    assert exposure, said
    assert float(exposure[1]) <= WORST_EXPOSURE


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[tuple[socket.socket, Path]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        yield listening, tmp_path / "notify"


async def told(listening: socket.socket, word: str) -> str:
    """The first notice with a word in it."""
    loop = asyncio.get_running_loop()
    while word not in (notice := (await loop.sock_recv(listening, 4096)).decode()):
        pass
    return notice


async def test_what_the_unit_starts_says_when_it_is_ready_that_it_lives_and_that_it_stops(
    supervisor: tuple[socket.socket, Path], tmp_path: Path
):
    listening, address = supervisor
    service = unit()
    [command] = service["ExecStart"]
    program, *arguments = shlex.split(command)
    assert Path(program).name == "python"
    given = [pair for line in service["Environment"] for pair in shlex.split(line)]
    environment = dict(pair.split("=", 1) for pair in given)
    assert environment["STATE"] == f"/var/lib/{service['StateDirectory'][0]}"
    environment = {
        name: value.replace("/var/", f"{tmp_path}/") for name, value in environment.items()
    }
    async with DiscordServer() as discord:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            cwd=tmp_path,
            env=os.environ
            | {"PYTHONPATH": str(ROOT), "DISCORD_TOKEN": TOKEN, "DISCORD_API": discord.api}
            | environment
            | {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "200000"},
        )
        try:
            async with asyncio.timeout(PATIENCE_S):
                assert "1 servers" in await told(listening, "READY=1")
                for _ in range(3):
                    await told(listening, "WATCHDOG=1")
                process.terminate()
                extended = re.search(
                    r"EXTEND_TIMEOUT_USEC=(\d+)", await told(listening, "STOPPING=1")
                )
                assert extended and int(extended[1]) > 20e6  # SHUTDOWN_GRACE_S, and something
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert (tmp_path / "lib" / "charrnn" / "registry.db").is_file()


def test_what_a_restart_does_not_help_is_not_restarted():
    assert unit()["RestartPreventExitStatus"] == ["78"]
    assert unit()["KillMode"] == ["mixed"]  # trainings are the bot's to stop


def steps() -> list[list[str]]:
    """The Dockerfile's instructions, in words."""
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


def copied() -> set[str]:
    """What the image is made of, in the clone."""
    copies = [words[1:-1] for words in steps() if words[0] == "COPY"]
    return {source for sources in copies for source in sources if sources[0][:2] != "--"}


def test_what_the_image_copies_is_there_and_what_an_installation_needs():
    assert all((ROOT / source).exists() for source in copied())
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"][
        "targets"
    ]
    assert copied() >= {"pyproject.toml", "constraints.txt", "README.md", "LICENSE"}
    assert copied() >= {*wheel["wheel"]["packages"], *wheel["wheel"]["force-include"]}


def test_only_what_is_copied_reaches_the_builder():
    kept = (ROOT / ".dockerignore").read_text().split()
    assert {line[1:] for line in kept if line.startswith("!")} == copied()
    assert "*" in kept


def test_the_image_installs_extras_that_exist_and_starts_what_the_unit_starts():
    [extras] = [words[1].partition("=")[2] for words in steps() if words[0] == "ARG"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    [entry] = [" ".join(words[1:]) for words in steps() if words[0] == "ENTRYPOINT"]
    assert json.loads(entry) == shlex.split(unit()["ExecStart"][0])


def test_the_image_has_a_state_folder_that_is_its_users():
    [user] = [words[1] for words in steps() if words[0] == "USER"]
    [volume] = [words[1] for words in steps() if words[0] == "VOLUME"]
    [made] = [" ".join(words) for words in steps() if "useradd" in words]
    assert user == "10001:10001"
    assert "groupadd --gid 10001 " in made and "--uid 10001 --gid 10001 " in made
    assert made.endswith(f"--owner=charrnn --group=charrnn --mode=700 {volume}")
    [environment] = [words[1:] for words in steps() if words[0] == "ENV"]
    assert f"STATE={volume}" in environment


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
async def test_the_health_check_believes_what_live_answers(status: int, code: int):
    [check] = [" ".join(words) for words in steps() if words[0] == "HEALTHCHECK"]
    _, *arguments = json.loads(check.partition(" CMD ")[2])

    async def live(_: web.Request) -> web.Response:
        return web.Response(status=status)

    app = web.Application()
    app.router.add_get("/live", live)
    async with TestServer(app) as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *arguments),
            env=os.environ | {"HEALTH_PORT": str(server.port)},
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert await asyncio.wait_for(process.wait(), PATIENCE_S) == code


def test_compose_builds_this_image_with_its_state():
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    bot = compose["services"]["bot"]
    assert (ROOT / "deploy" / bot["build"]["context"] / "Dockerfile").resolve() == DOCKERFILE
    [volume] = bot["volumes"]
    name, _, place = volume.partition(":")
    assert name in compose["volumes"] and f"`{compose['name']}_{name}`" in RUNNING
    assert place == bot["environment"]["STATE"]
    assert int(bot["stop_grace_period"].rstrip("s")) >= (Settings().shutdown_grace_s + CLOSING_S)


RUNNING = (ROOT / "docs" / "running.md").read_text()


@pytest.mark.parametrize(
    "target", sorted(set(re.findall(r"^(?:sudo )?make ([\w-]+)", RUNNING, re.M)))
)
def test_the_targets_that_the_page_on_running_names_exist(target: str):
    subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)  # noqa: S607


def test_the_page_on_running_names_every_setting_but_the_previews():
    named = set(re.findall(r"`([A-Z_]+)`", RUNNING))
    assert {name for name in _READERS if not name.startswith("PREVIEW_")} <= named


def test_the_page_on_running_names_the_files_that_are_installed():
    recipe = subprocess.check_output(
        ["make", "--dry-run", "install-service"],  # noqa: S607
        cwd=ROOT,
        encoding="utf-8",
    )
    assert unit()["EnvironmentFile"][0] in recipe and unit()["EnvironmentFile"][0] in RUNNING
    assert f"/etc/systemd/system/{UNIT.name}" in recipe
    assert f"systemctl enable --now {UNIT.stem}" in RUNNING
    assert f"/var/lib/{unit()['StateDirectory'][0]}" in RUNNING
