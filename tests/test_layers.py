"""Who may import whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = [*ROOT.glob("bot/**/*.py"), *ROOT.glob("charrnn/**/*.py")]

# From top to bottom: a module imports from its own folder and from the layers below, not from a
# neighbour and not from above. A folder's name stands for everything in it.
LAYERS = (
    {"bot.__main__"},
    {"bot.operations"},
    {"bot.client"},
    {"bot.services"},
    {"bot.cogs", "bot.dask"},
    {"bot.training"},
    {"bot.inference"},
    {"bot.corpus", "bot.models", "bot.privacy", "bot.words"},
    {"bot.storage", "bot.interactions", "bot.settings"},
    {"bot.errors"},
    {"charrnn.cli"},
    {"charrnn.training"},
    {"charrnn.text"},
    {"charrnn"},
)
# The only folders that may import a package. What imports none of it starts fast and stays small.
ONLY_IN = {
    "discord": "bot",
    "dotenv": "bot.settings",
    "sqlite3": "bot.storage",
    "distributed": "bot.dask",
    "prometheus_client": "bot.operations",
    "simcord": "bot.operations",
    "keras": "charrnn.training",
    "tensorflow": "charrnn.training",
    "h5py": "charrnn.training",
    "onnx": "charrnn.training",
    "matplotlib": "charrnn.training",
    "rich": "charrnn.cli",
    "typer": "charrnn.cli",
}


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def imports(path: Path) -> set[str]:
    """The modules that a file names in its import statements, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def within(name: str, folder: str) -> bool:
    return f"{name}.".startswith(f"{folder}.")


def layer(name: str) -> tuple[int, str]:
    """The layer's number, and the folder or module in it that `name` belongs to."""
    found = [
        (number, folder)
        for number, folders in enumerate(LAYERS)
        for folder in folders
        if within(name, folder)
    ]
    return max(found, key=lambda pair: len(pair[1]))


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_module_imports_from_its_own_folder_and_from_below(path: Path):
    name = module_name(path)
    if name in ("bot", "charrnn.__main__"):
        return  # they only start what is above
    number, folder = layer(name)
    ours = {other for other in imports(path) if other.partition(".")[0] in ("bot", "charrnn")}
    wrong = {other for other in ours if not (within(other, folder) or layer(other)[0] > number)}
    assert not wrong


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_package_is_imported_only_where_it_belongs(path: Path):
    packages = {name.partition(".")[0] for name in imports(path)}
    name = module_name(path)
    assert {p for p in packages & set(ONLY_IN) if not within(name, ONLY_IN[p])} == set()


def test_cogs_touch_no_files_and_no_arrays():
    for path in ROOT.glob("bot/cogs/*.py"):
        assert not imports(path) & {"numpy", "os", "pathlib.Path"}


def test_only_settings_reads_the_environment():
    reading = {
        module_name(path)
        for path in ROOT.glob("bot/**/*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
    }
    assert reading == {"bot.settings"}


def test_no_folder_holds_more_than_nine_modules():
    folders = {path.parent for path in MODULES}
    for folder in folders:
        modules = [p for p in folder.glob("*.py") if p.stem not in ("__init__", "__main__")]
        assert len(modules) <= 9, folder


def test_the_running_bot_imports_neither_tensorflow_nor_dask(tmp_path: Path):
    program = """
import asyncio, sys, simcord
from pathlib import Path
from bot.client import create_bot
from bot.settings import Settings

async def main():
    bot = create_bot(Settings(cooldown_s=0, state=Path(sys.argv[1])))
    async with simcord.run(bot, shard_count=1, settle_timeout=240) as env:
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
