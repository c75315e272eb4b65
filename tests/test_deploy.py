"""What is deployed: systemd unit, container, release, and the commands in docs/running.md."""

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

import charrnn
from bot.operations.systemd import CLOSING_S
from bot.settings import SETTINGS, Settings
from tests.bot.processes import BOT, PATIENCE_S

ROOT = Path(__file__).parent.parent
UNIT = ROOT / "deploy" / "charrnn-bot.service"
DOCKERFILE = ROOT / "Dockerfile"
SYSTEMD_254 = ("RestartSteps", "RestartMaxDelaySec")
WORST_EXPOSURE = 2.0  # of 10; systemd calls less than 4.9 "OK"

analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze is installed"
)


def unit() -> dict[str, list[str]]:
    """The service's settings, each with all its values."""
    values: dict[str, list[str]] = {}
    lines = UNIT.read_text("utf-8").partition("[Service]")[2].partition("[Install]")[0].splitlines()
    for line in lines:
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            values.setdefault(name, []).append(value)
    return values


def systemd_analyze(*arguments: str | Path) -> tuple[int, str]:
    result = subprocess.run(
        ["systemd-analyze", *arguments],  # noqa: S607 - its place differs
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    return result.returncode, result.stdout + result.stderr


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit with a program that exists."""
    text = UNIT.read_text("utf-8").replace(unit()["ExecStart"][0].split()[0], sys.executable)
    path = tmp_path / UNIT.name
    path.write_text(text)
    return path


@analyze
def test_systemd_knows_every_line_of_the_unit(installed: Path):
    code, said = systemd_analyze("verify", "--man=no", installed)
    # Older versions of systemd do not know these two.
    complaints = [line for line in said.splitlines() if not any(n in line for n in SYSTEMD_254)]
    assert (code, complaints) == (0, [])


@analyze
def test_the_unit_leaves_little_exposed(installed: Path):
    _, said = systemd_analyze("security", "--offline=true", "--no-pager", installed)
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
    assert exposure, said
    assert float(exposure[1]) <= WORST_EXPOSURE


def test_the_unit_starts_the_bot_with_its_state_where_it_may_write():
    service = unit()
    program, *arguments = shlex.split(service["ExecStart"][0])
    assert Path(program).name == "python"
    assert arguments == list(BOT[1:])
    given = [pair for line in service["Environment"] for pair in shlex.split(line)]
    environment = dict(pair.split("=", 1) for pair in given)
    assert environment["STATE"] == f"/var/lib/{service['StateDirectory'][0]}"
    writable = (environment["STATE"], f"/var/cache/{service['CacheDirectory'][0]}")
    assert set(environment.values()) <= set(writable)


def test_a_wrong_configuration_is_not_restarted():
    assert unit()["RestartPreventExitStatus"] == ["78"]
    assert unit()["KillMode"] == ["mixed"]  # the bot stops its trainings


def steps() -> list[list[str]]:
    """The Dockerfile's instructions, in words."""
    text = DOCKERFILE.read_text("utf-8").replace("\\\n", " ")
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


def copied() -> set[str]:
    """What the image is built from, in the clone."""
    copies = [words[1:-1] for words in steps() if words[0] == "COPY"]
    return {source for sources in copies for source in sources if sources[0][:2] != "--"}


def test_the_image_copies_everything_that_an_installation_needs():
    assert all((ROOT / source).exists() for source in copied())
    build = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]
    assert copied() >= {"pyproject.toml", "constraints.txt", "README.md", "LICENSE"}
    assert copied() >= {*build["targets"]["wheel"]["only-include"]}


def test_the_builder_gets_only_what_the_image_copies():
    kept = (ROOT / ".dockerignore").read_text("utf-8").split()
    assert {line[1:] for line in kept if line.startswith("!")} == copied()
    assert "*" in kept


def test_the_image_installs_extras_that_exist_and_starts_what_the_unit_starts():
    [extras] = [words[1].partition("=")[2] for words in steps() if words[0] == "ARG"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    [entry] = [" ".join(words[1:]) for words in steps() if words[0] == "ENTRYPOINT"]
    assert json.loads(entry) == shlex.split(unit()["ExecStart"][0])


def test_the_images_user_owns_its_state_folder():
    [user] = [words[1] for words in steps() if words[0] == "USER"]
    [volume] = [words[1] for words in steps() if words[0] == "VOLUME"]
    [made] = [" ".join(words) for words in steps() if "useradd" in words]
    assert user == "10001:10001"
    assert "groupadd --gid 10001 " in made and "--uid 10001 --gid 10001 " in made
    assert made.endswith(f"--owner=charrnn --group=charrnn --mode=700 {volume}")
    [environment] = [words[1:] for words in steps() if words[0] == "ENV"]
    assert f"STATE={volume}" in environment


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
async def test_the_health_check_follows_live(status: int, code: int):
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
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text("utf-8"))
    bot = compose["services"]["bot"]
    assert (ROOT / "deploy" / bot["build"]["context"] / "Dockerfile").resolve() == DOCKERFILE
    [volume] = bot["volumes"]
    name, _, place = volume.partition(":")
    assert name in compose["volumes"] and f"`{compose['name']}_{name}`" in RUNNING
    assert place == bot["environment"]["STATE"]
    assert int(bot["stop_grace_period"].rstrip("s")) >= (Settings().shutdown_grace_s + CLOSING_S)


RUNNING = (ROOT / "docs" / "running.md").read_text("utf-8")


@pytest.mark.parametrize(
    "target", sorted(set(re.findall(r"^(?:sudo )?make ([\w-]+)", RUNNING, re.M)))
)
def test_the_make_targets_in_docs_running_exist(target: str):
    subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)  # noqa: S607


def test_docs_running_lists_every_setting_except_the_previews():
    named = set(re.findall(r"`([A-Z_]+)`", RUNNING))
    assert {name for name in SETTINGS if not name.startswith("PREVIEW_")} <= named


def test_docs_running_names_the_installed_files():
    recipe = subprocess.check_output(
        ["make", "--dry-run", "install-service"],  # noqa: S607
        cwd=ROOT,
        encoding="utf-8",
    )
    assert unit()["EnvironmentFile"][0] in recipe and unit()["EnvironmentFile"][0] in RUNNING
    assert f"/etc/systemd/system/{UNIT.name}" in recipe
    assert f"systemctl enable --now {UNIT.stem}" in RUNNING
    assert f"/var/lib/{unit()['StateDirectory'][0]}" in RUNNING


WORKFLOWS = {path.stem: path.read_text("utf-8") for path in ROOT.glob(".github/workflows/*.yml")}
PINNED = re.compile(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+|\./\.github/workflows/\w+\.yml")


@pytest.mark.parametrize("text", WORKFLOWS.values(), ids=list(WORKFLOWS))
def test_a_workflow_may_only_read_and_its_actions_cannot_change(text: str):
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}
    used = re.findall(r"\buses: (.+)", text)
    assert used and all(map(PINNED.fullmatch, used))


def test_the_workflows_try_every_python_that_the_package_names():
    named = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["classifiers"]
    pythons = [line.rpartition(" ")[2] for line in named if "Python :: 3." in line]
    jobs = [yaml.safe_load(WORKFLOWS[name])["jobs"] for name in ("test", "package")]
    for job in (jobs[0]["test"], jobs[1]["install"]):
        assert job["strategy"]["matrix"]["python"] == pythons


@pytest.mark.skipif(
    sys.platform == "win32" or shutil.which("bash") is None, reason="no bash is installed"
)
def test_a_release_is_of_the_version_and_describes_it(tmp_path: Path):
    for name in ("CHANGELOG.md", "charrnn/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    steps = yaml.safe_load(WORKFLOWS["release"])["jobs"]["version"]["steps"]
    scripts = [step["run"] for step in steps if "run" in step]

    def succeeds(script: str, tag: str) -> bool:
        command, env = ["bash", "-e", "-c", script], os.environ | {"GITHUB_REF_NAME": tag}
        return subprocess.run(command, cwd=tmp_path, env=env, check=False).returncode == 0

    assert [succeeds(script, "v0.0.1") for script in scripts] == [False, False]
    assert [succeeds(script, f"v{charrnn.__version__}") for script in scripts] == [True, True]
    notes = (tmp_path / "notes.md").read_text("utf-8")
    assert "### Added" in notes and "\n## " not in notes


def test_nothing_is_released_before_the_version_is_checked_and_the_tests_have_passed():
    jobs = yaml.safe_load(WORKFLOWS["release"])["jobs"]
    assert jobs["test"]["needs"] == "version"
    assert jobs["test"]["uses"] == "./.github/workflows/test.yml"
    publishing = {name for name, job in jobs.items() if "permissions" in job}
    assert publishing == {"release", "image"}
    assert all("test" in jobs[name]["needs"] for name in publishing)


def test_the_forms_for_issues_ask_for_something():
    forms = [
        yaml.safe_load(form.read_text("utf-8"))
        for form in ROOT.glob(".github/ISSUE_TEMPLATE/*.yml")
    ]
    assert {form["name"] for form in forms} == {"Something is wrong", "An idea"}
    assert all(form["body"][0]["validations"]["required"] for form in forms)
