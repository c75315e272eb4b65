"""Who may import whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = [*ROOT.glob("bot/**/*.py"), *ROOT.glob("charrnn/**/*.py")]
TRAINING = {"training.py", "network.py", "export.py", "graph.py"}
SQL = {"database.py", "registry.py", "rows.py"}
# What `charrnn benchmark` measures this engine beside is TensorFlow's own.
BENCHMARK = {"contestants.py", "frameworks.py"}


def imports(path: Path) -> set[str]:
    """The modules that a file names in its import statements, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def attributes(path: Path) -> set[str]:
    """The names after a dot, anywhere in a file."""
    return {n.attr for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute)}


def packages(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_layers_are_kept(path: Path):
    if path.parent.name == "charrnn":
        assert not packages(path) & {"bot", "discord", "dotenv", "simcord"}
        if path.name not in TRAINING | BENCHMARK:
            assert not packages(path) & {"keras", "tensorflow", "h5py", "onnx"}
    else:
        assert not packages(path) & {"keras", "tensorflow", "h5py", "onnx"}
        assert not imports(path) & {f"charrnn.{Path(name).stem}" for name in TRAINING | BENCHMARK}
    if path.name not in SQL:
        assert "sqlite3" not in packages(path)
    if path.parent.name != "dask":
        assert not packages(path) & {"dask", "distributed"}
    if path.name not in ("health.py", "metrics.py"):
        assert "prometheus_client" not in packages(path)
    if path.parent.name == "cogs":
        assert not packages(path) & {"numpy", "sqlite3", "pathlib", "os"}
    if path.parent.name in ("bot", "cogs") and path.name != "settings.py":
        assert "dotenv" not in packages(path)
        assert not attributes(path) & {"environ", "getenv"}


def test_the_running_bot_has_no_tensorflow_in_it_and_no_dask(tmp_path: Path):
    program = """
import asyncio, sys, simcord
from pathlib import Path
from bot.client import create_bot
from bot.settings import Settings

async def main():
    bot = create_bot(Settings(cooldown_s=0, state=Path(sys.argv[1])))
    async with simcord.run(bot, shard_count=1) as env:
        guild = env.create_guild("The Globe")
        channel = guild.create_text_channel("general")
        member = guild.add_member(env.create_user("alice"))
        result = await member.slash(channel, "shakespeare", seed="To be")
        assert len(result.response.content) > 500

asyncio.run(main())
assert "bot.cogs.generate" in sys.modules
print(sorted({"tensorflow", "keras", "onnx", "h5py", "dask", "distributed"} & set(sys.modules)))
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    assert result.stdout == "[]\n"
