import doctest

import pytest

from charrnn.errors import CorpusError
from charrnn.text import plays


def test_the_example_in_the_documentation():
    assert doctest.testmod(plays).failed == 0


def test_the_plays_are_speeches_without_stage_directions():
    read = plays.read_plays("")
    assert len(read) == 38
    assert read["othello"].startswith("RODERIGO:\nTush! never tell me; I take it much unkindly\n")
    assert "\n\nIAGO:\n'Sblood, but you will not hear me:\n" in read["othello"]
    assert not set("_*#[]\\") & set("".join(read.values()))


def test_an_unknown_play_is_refused_with_a_list_of_plays():
    with pytest.raises(CorpusError, match=r"'faust'.*macbeth"):
        plays.read_plays("faust")
