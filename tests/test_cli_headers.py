"""Whether the first line of a file has names: no row is lost, and none is made of names."""

import re

import numpy as np
import pytest

from fastnn.cli import main
from fastnn.tabular.files import Reading, read, read_in_blocks, reading

QUICK = ["--target", "numpy", "--hidden", "4", "--epochs", "1", "--validation", "0"]
RANDOM = np.random.default_rng(5)
ROWS = 120
WORDS = [
    (a, "pqr"["abc".index(b)], "yes" if a == "a" else "no")
    for a, b in RANDOM.choice([*"abc"], (ROWS, 2))
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Return a folder to work in, with a table of words without a header."""
    monkeypatch.chdir(tmp_path)
    write("words.csv", WORDS)
    return tmp_path


def write(path, rows, header=None):
    lines = [*([header] if header else []), *rows]
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(",".join(map(str, row)) + "\n" for row in lines)


def run(capsys, *arguments):
    """Return what a command prints: results, and what it says."""
    code = main(list(arguments))
    out, err = capsys.readouterr()
    assert code == 0, err
    return out, " ".join(err.split())


def predictions(capsys, *arguments):
    """Return the labels that `fastnn predict` writes, and what it says."""
    out, said = run(capsys, "predict", *arguments)
    return [line.split(",")[0] for line in out.splitlines()[1:]], said


AS_ROW = "the first line is read as a row, since "


@pytest.mark.parametrize("more", [[], ["--tabular"]], ids=["one", "many"])
def test_a_model_without_names_predicts_each_row_of_a_table_of_words(more, here, capsys):
    quick = QUICK if not more else ["--tabular", "--members", "1", *QUICK[:2], *QUICK[4:6]]
    run(capsys, "train", "words.csv", "--no-header", "--label", "-1", "--out", "m", *quick)
    found, said = predictions(capsys, "m", "words.csv")
    asked, _ = predictions(capsys, "m", "words.csv", "--no-header")
    assert found == asked and len(found) == ROWS and AS_ROW in said
    out, said = run(capsys, "evaluate", "m", "words.csv")
    assert out.split()[:2] == ["rows", "120"] and AS_ROW in said
    write("bare.csv", [row[:2] for row in WORDS])
    assert predictions(capsys, "m", "bare.csv")[0] == asked
    for few in (WORDS[:1], WORDS[:2], [("c", "p", "no")] * 3):  # of which nothing tells it else
        write("few.csv", few)
        found, said = predictions(capsys, "m", "few.csv")
        assert len(found) == len(few) and "pass --header if it has names" in said
    found, said = predictions(capsys, "m", "few.csv", "--names", "p,q,r")
    assert len(found) == 3 and "pass --header if it has names" in said
    write("named.csv", WORDS, "xyz")
    assert predictions(capsys, "m", "named.csv", "--header")[0] == asked
    if not more:
        said = run(capsys, "train", "words.csv", "--resume", "m", "--epochs", "1", "--out", "n")[1]
        assert "words.csv: 120 rows" in said


def test_a_model_of_numbers_without_names_still_reads_a_file_that_has_names(here, capsys):
    rows = [(f"{x:.3f}", w, "hi" if x > 0 else "lo") for x, (w, _, _) in
            zip(RANDOM.normal(size=ROWS), WORDS, strict=True)]  # fmt: skip
    write("bare.csv", rows)
    write("named.csv", rows, ("size", "kind", "label"))
    run(capsys, "train", "bare.csv", "--label", "3", "--out", "m", *QUICK)
    bare, _ = predictions(capsys, "m", "bare.csv")
    named, said = predictions(capsys, "m", "named.csv")
    assert named == bare and len(bare) == ROWS
    assert "columns are taken in their order, since one of the files has no names" in said
    write("gap.csv", [("", "b", "hi"), *rows])  # where the number of the first row is missing
    assert len(predictions(capsys, "m", "gap.csv")[0]) == ROWS + 1


def test_names_are_for_a_table_without_a_header_of_which_no_row_is_lost(here, capsys):
    names = ["--names", "x,y,l"]
    said = run(capsys, "train", "words.csv", *names, "--label", "l", "--out", "m", *QUICK)[1]
    assert "words.csv: 120 rows, 3 columns; " + AS_ROW in said
    found, said = predictions(capsys, "m", "words.csv", *names)
    assert len(found) == ROWS and AS_ROW in said
    assert predictions(capsys, "m", "words.csv", *names, "--no-header")[0] == found
    by_order, said = predictions(capsys, "m", "words.csv")
    assert by_order == found and AS_ROW in said
    # Values that are names by chance do not make a header.
    run(capsys, "train", "words.csv", "--names", "a,b,l", "--label", "l", "--out", "m", *QUICK)
    assert len(predictions(capsys, "m", "words.csv", "--names", "a,b,l")[0]) == ROWS
    write("named.csv", WORDS, ("u", "v", "w"))
    found, said = predictions(capsys, "m", "named.csv", "--names", "a,b,l")
    assert len(found) == ROWS and "('u', 'v', 'w') is taken for names, which --names" in said
    write("named.csv", WORDS, ("a", "b", "l"))
    found, said = predictions(capsys, "m", "named.csv", "--names", "a,b,l")
    assert len(found) == ROWS and "first line" not in said
    write("one.csv", WORDS[:1])
    assert main(["predict", "m", "one.csv", "--names", "a,b,l"]) == 2
    assert "but no rows; pass --no-header if that is a row" in " ".join(
        capsys.readouterr().err.split()
    )
    write("mixed.csv", [(3 + row, *words) for row, words in enumerate(WORDS)])
    more = ["--names", "n,a,b,l"]
    said = run(capsys, "train", "mixed.csv", *more, "--label", "l", "--out", "m", *QUICK)[1]
    assert "120 rows" in said
    write("chance.csv", [(1, "a", "c", "no"), (2, "b", "c", "no")])
    assert len(predictions(capsys, "m", "chance.csv", *more)[0]) == 2


def told(path, **how):
    """Return whether the first line is found to be a header, and what is said of it."""
    table, said = read(path, Reading(**how))
    with open(path, encoding="utf-8") as file:
        lines = sum(1 for _ in file)
    assert table.rows in (lines, lines - 1)
    return table.rows < lines, " ".join(each for each in said if "first line" in each)


DAYS = [f"2024-{1 + row % 12:02d}-{1 + row % 28:02d}" for row in range(ROWS)]
TEAMS = [f"team{row}" for row in (7, 8, 7, 9, 5, 9, 8, 7, 9)]
SINCE_SCORE = "since 'score' is above numbers, though 'team7', 'team9' are values"
NAMES = [f"Mr. {'ABCDEFGHIJ'[row % 10]}{'klmnopqrstuv'[row // 10]}" for row in range(ROWS)]


@pytest.mark.parametrize(
    ("columns", "header", "expected", "text"),
    [
        ([*zip(*WORDS, strict=True)], None, False, AS_ROW),
        ([*zip(*WORDS, strict=True)], ("x", "y", "label"), True, ""),
        ([*zip(*WORDS, strict=True)], ("x", "y", "no"), True, "warning: .* though 'no' is a value"),
        ([DAYS, *zip(*WORDS, strict=True)], None, False, AS_ROW),
        ([DAYS, [f"{row % 7}%" for row in range(ROWS)]], None, False, AS_ROW),
        ([NAMES, *zip(*WORDS, strict=True)], None, False, AS_ROW),
        ([NAMES, [row[0] for row in WORDS]], None, True, "warning: .*pass --no-header if"),
        ([NAMES, NAMES[::-1]], None, True, ""),
        ([["?", *"ab" * 9], ["p", *"pq" * 9], ["s", *"st" * 9]], None, False, AS_ROW),
        ([range(9), range(9)], ("2024-01-01", "2024-01-02"), True, ""),
        ([["u1", "u2", "u3"], [1, 2, 3]], ("user", "id"), True, ""),
        ([[1.5, 2.5], ["a", "a"]], None, False, "the first line has numbers"),
        # Names that end in digits, above words that do.
        ([TEAMS, TEAMS[::-1], range(9)], ("team1", "team2", "score"), True, ""),
        ([TEAMS, TEAMS[::-1], range(9)], ("team7", "team9", "score"), True, SINCE_SCORE),
        ([TEAMS, TEAMS[::-1]], ("team1", "team2"), True, ""),
        ([TEAMS, TEAMS[::-1]], ("team7", "team9"), False, "'team7', 'team9' are values of their"),
        ([TEAMS, ["9.5", "", "?", "$5", "-", "1'000", "<2", "5%", "inf"]], ("team7", "price"), True,
         "'price' is above numbers, though 'team7' is a value"),
        ([TEAMS, TEAMS, DAYS[:9]], ("team7", "team8", "day"), True, "since 'day' is above dates"),
        ([range(9), range(1, 10), range(9)], ("x1", "x2", "y"), True, ""),
        ([["3rd", "2nd"] * 9, [5, 7] * 9], ("1st_place", "2nd_place"), True, ""),
        ([["q1", "q2", "q3", "q4"] * 9, range(36)], ("q1", "q2"), True, "since 'q2' is above num"),
        # Nothing tells whether quarters are named or the first of them.
        ([["q1", "q2"] * 9, ["q1", "q2"] * 9], ("q1", "q2"), False, "pass --header if it has name"),
        # A word that is no number, among numbers with others, is no name; nor is a mark.
        ([["a", "b"] * 9, ["p", "q"] * 9, [1, "few"] * 9], ("a", "q", "many"), False, AS_ROW),
        ([["a", "b"] * 9, ["p", "q"] * 9, [1, 2] * 9], ("a", "q", "-"), False, AS_ROW),
        ([["a", "b"] * 9, ["p", "q"] * 9, [1, 2] * 9], ("a", "q", "<5"), False, AS_ROW),
        ([["a", "b"] * 9, ["p", "q"] * 9, ["+", "-"] * 9], ("a", "q", "both"), False, AS_ROW),
        ([[f"u{3 * row % 31}" for row in range(31)], DAYS[:31]], ("u40", "2023-05-07"), False,
         "'2023-05-07' is a value of its column"),
        ([["a", "b"] * 9, ["p", "q"] * 9, ["7h", "3m"] * 9], ("a", "q", "5h 2m"), False, AS_ROW),
        ([["Jan 5 2024", "Feb 7 2024"] * 9, NAMES[:18]], ("Mar 1 2024", "Mr. X"), False, AS_ROW),
    ],
)  # fmt: skip
def test_a_first_line_whose_words_are_in_other_lines_is_a_row(
    columns, header, expected, text, here, monkeypatch
):
    write("data.csv", zip(*columns, strict=True), header)
    found, said = told("data.csv")
    assert found == expected
    assert re.search(text, said) if text else not said, said
    whole = read("data.csv", Reading())[0]
    for cells in (1, 7, 300, 1 << 20):
        monkeypatch.setattr(reading, "CELLS", cells)
        lines = []
        blocks = [*read_in_blocks("data.csv", Reading(), lines)]
        assert " ".join(lines) == said and sum(block.rows for block in blocks) == whole.rows
        assert max(block.rows for block in blocks) <= max(1, cells // len(columns))
        for name, values in whole.columns.items():
            assert [each for block in blocks for each in block.columns[name]] == values.tolist()
        places = np.concatenate([block.places for block in blocks])
        assert places.tolist() == [*range(whole.rows)]


def test_a_header_that_is_there_again_since_files_were_joined_is_one(here):
    write("data.csv", [*WORDS[:50], ("x", "y", "label"), *WORDS[50:]], ("x", "y", "label"))
    assert told("data.csv") == (True, "")


def test_what_the_user_says_of_the_first_line_is_so(here):
    for header in (True, False):
        assert told("words.csv", header=header) == (header, "")


def test_a_model_without_names_reads_a_header_above_numbers_as_one(here, capsys):
    rows = [(f"team{row % 7}", f"team{row % 5}", row % 2) for row in range(ROWS)]
    write("bare.csv", rows)
    write("named.csv", rows, ("team1", "team2", "won"))
    run(capsys, "train", "bare.csv", "--no-header", "--label", "3", "--out", "m", *QUICK)
    bare, _ = predictions(capsys, "m", "bare.csv", "--no-header")
    named, said = predictions(capsys, "m", "named.csv")
    assert named == bare and "is taken for names, since 'won' is above numbers" in said
