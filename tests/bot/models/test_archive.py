from pathlib import Path
from zipfile import ZipFile

import pytest

from bot.errors import BotError
from bot.models.archive import OVERHEAD_BYTES, archived
from charrnn import store

WHOLE = {store.CARD, store.KERAS, store.ONNX, store.GUARD}


@pytest.fixture
def folder(model_folder: Path) -> Path:
    (model_folder / store.GUARD).write_bytes(b"guard")
    return model_folder


def size(folder: Path, *names: str) -> int:
    return sum((folder / name).stat().st_size for name in names)


async def test_a_model_that_fits_is_archived_whole(folder: Path):
    limit = size(folder, *WHOLE) + OVERHEAD_BYTES
    async with archived(folder, limit) as archive:
        assert (archive.complete, set(archive.names)) == (True, WHOLE)
        assert archive.file.stat().st_size <= limit
        with ZipFile(archive.file) as zipped:
            for name in WHOLE:
                assert zipped.read(name) == (folder / name).read_bytes()
    assert not archive.file.exists()


async def test_a_model_that_is_too_large_is_archived_without_its_keras_file(folder: Path):
    needed = WHOLE - {store.KERAS}
    limit = size(folder, *needed) + OVERHEAD_BYTES
    async with archived(folder, limit) as archive:
        assert (archive.complete, set(archive.names)) == (False, needed)
        assert archive.file.stat().st_size <= limit
    with pytest.raises(BotError, match="Discord takes files of up to"):
        async with archived(folder, limit - 1):
            pass


async def test_a_model_that_was_deleted_is_a_sentence(tmp_path: Path):
    with pytest.raises(BotError, match="no such model"):
        async with archived(tmp_path / "deleted", 10**6):
            pass
