"""Tables: one line a row for programs, no wider than the terminal for people."""

import pytest

from nnhooks.cli.tables import beside, table

ROWS = [["a", "short"], ["bcd", "a sentence that is longer than the rest of the line"]]


@pytest.mark.parametrize("columns", ["30", "40", "80"])
def test_on_a_terminal_the_last_column_goes_on_below_itself(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)

    lines = table(["name", "meaning"], ROWS).splitlines()

    assert max(map(len, lines)) <= int(columns)
    assert {line[:6] for line in lines} == {
        "name  ",
        "a     ",
        "bcd   ",
        *["      "][: len(lines) - 3],
    }
    assert " ".join(line[6:] for line in lines[2:]) == ROWS[1][1]


def test_where_there_is_no_terminal_a_row_is_a_line(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)

    lines = table(["name", "meaning"], ROWS).splitlines()

    assert lines == ["name  meaning", "a     short", f"bcd   {ROWS[1][1]}"]


def test_nothing_beside_a_head_leaves_no_blanks_behind():
    assert beside("head  ", "") == "head"
