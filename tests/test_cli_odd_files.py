"""What the commands make of files that other programs write in their own ways."""

import bz2
import datetime
import gzip
import io
import sys
import time

import numpy as np
import pytest

from fastnn.cli import main, screen

QUICK = ["--target", "numpy", "--hidden", "4", "--epochs", "1", "--validation", "0"]
NUMBERS = np.random.default_rng(0).normal(size=60)
SIGNS = ["oui é" if number > 0 else "北京" for number in NUMBERS]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Return a folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(data, *arguments):
    return main(["train", data, "--label", "y", *QUICK, *arguments])


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_delimiter_is_found_whatever_ends_the_lines_and_is_in_quotes(end, here, capsys):
    rows = [f"{number:.3f};" + '"x, and\ny";' + f"{number > 0}" for number in NUMBERS]
    text = end.join(['"a\nb";c;y', *rows])
    (here / "data.csv").write_bytes(text.encode("utf-8-sig"))
    assert train("data.csv", "--keep", "c") == 0
    said = capsys.readouterr().err
    assert "60 rows, 3 columns; values are separated by a semicolon" in said


def test_minus_signs_of_typeset_tables_are_read_and_infinity_is_no_word(here, capsys):
    texts = [f"{number:.2f}".replace("-", "\u2212") for number in NUMBERS]
    write_columns(here / "data.csv", a=texts, y=SIGNS)
    assert train("data.csv") == 0
    assert "1 number: 'a'" in capsys.readouterr().err
    write_columns(here / "data.csv", a=["inf" if n > 0.8 else f"{n:.2f}" for n in NUMBERS], y=SIGNS)
    assert np.mean(NUMBERS > 0.8) > 0.1
    assert train("data.csv") == 2
    assert "'inf' where numbers are due" in capsys.readouterr().err


def test_how_text_would_be_numbers_is_said_where_no_column_is_left(here, capsys):
    write_columns(here / "data.csv", a=[f"{number:.3f}%" for number in NUMBERS], y=SIGNS)
    assert train("data.csv") == 2
    said = capsys.readouterr().err
    assert "no column is left" in said and "numbers with a percent sign" in said


def test_a_class_that_is_written_as_a_missing_value_is_named(here, capsys):
    classes = ["none" if number > 0.8 else "mild" if number > 0 else "bad" for number in NUMBERS]
    write_columns(here / "data.csv", a=NUMBERS, y=classes)
    assert train("data.csv") == 0
    missing = classes.count("none")
    said = capsys.readouterr().err
    assert f"{missing} rows without a label left out: 'none' stands for a missing value" in said


@pytest.mark.parametrize("more", [[], ["--tabular"], ["--stream"]], ids=["one", "many", "streamed"])
@pytest.mark.parametrize("word", ["NA", "None", "null"])
def test_a_class_that_is_written_as_a_missing_value_is_named_where_one_is_left(
    word, more, here, capsys
):
    data = "data.csv"
    columns = {"a": NUMBERS, "y": [word if number > 0 else "EU" for number in NUMBERS]}
    if more == ["--stream"]:
        arrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow.table(columns), data := "data.parquet")
    else:
        write_columns(here / data, **columns)
    assert main(["train", data, "--label", "y", *more]) == 2
    said, there = capsys.readouterr().err, int((NUMBERS <= 0).sum())
    assert f"one class only, 'EU', in {there} of {len(NUMBERS)} rows;" in said
    others = len(NUMBERS) - there
    assert f"; {others} other rows without a label: {word!r} stands for a missing value" in said


DAYS = [str(datetime.date(2024, 1, 1) + datetime.timedelta(n)) for n in range(60)]
MOMENTS = {
    "dates": DAYS,
    "dates of two digits": [f"{day[8:]}.{day[5:7]}.{day[2:4]}" for day in DAYS],
    "dates but one": [*DAYS[:-1], "soon"],
    "times of day": [f"{n % 12}:{n:02d}" for n in range(60)],
    "durations": [f"{n} min" for n in range(60)],
    "durations of hours": [f"{n + 7}h" for n in range(60)],
}


@pytest.mark.parametrize("kind", MOMENTS)
@pytest.mark.parametrize("more", [QUICK, ["--tabular"]], ids=["one", "many"])
def test_a_label_of_dates_is_no_class(kind, more, here, capsys):
    texts = [text for text in MOMENTS[kind][::2] for _ in range(2)]
    write_columns(here / "data.csv", a=NUMBERS, y=texts)
    assert main(["train", "data.csv", "--label", "y", *more]) == 2
    said = capsys.readouterr().err
    what = kind.partition(" of two")[0].partition(" but")[0].partition(" of hours")[0]
    assert f"column 'y', the label, has {what}, such as {texts[0]!r}; make a number of" in said
    assert main(["train", "data.csv", "--label", "y", *more, "--task", "regression"]) == 2
    said = capsys.readouterr().err
    assert "where a number is due for a regression" in said
    assert "make a number of each" in said or "keep the number alone" in said


def test_few_dates_as_labels_are_classes_with_a_warning_unless_asked_for(here, capsys):
    write_columns(here / "data.csv", a=NUMBERS, y=[f"2024-Q{n % 4 + 1}" for n in range(60)])
    assert train("data.csv") == 0
    said = capsys.readouterr().err
    assert "warning: label 'y' is read as classes: its values are dates, whose order" in said
    assert train("data.csv", "--task", "classification") == 0
    assert "warning" not in capsys.readouterr().err
    write_columns(here / "data.csv", a=NUMBERS, y=[DAYS[n // 2] for n in range(60)])
    assert train("data.csv", "--task", "classification") == 0


def test_words_for_missing_labels_are_named_where_no_other_label_is_left(here, capsys):
    write_columns(here / "data.csv", a=NUMBERS, y=["None" if n > 0 else "NA" for n in NUMBERS])
    assert train("data.csv") == 2
    said = capsys.readouterr().err
    assert "no value in any row: 'NA', 'None' stand for a missing value; if they are cl" in said
    write_columns(here / "data.csv", a=NUMBERS, y=["5" if n > 0 else "NA" for n in NUMBERS])
    assert train("data.csv") == 2
    said = capsys.readouterr().err
    assert "is 5 in every row that has one" in said and "'NA' stands for a missing value" in said


@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_scores_of_very_large_and_small_labels_are_those_of_usual_ones(size, here, capsys):
    for name, factor in (("usual.csv", 1.0), ("odd.csv", size)):
        write_columns(here / name, a=NUMBERS, y=[f"{n * factor:.17g}" for n in NUMBERS])
    scores = []
    for name in ("usual.csv", "odd.csv"):
        assert train(name, "--quiet") == 0
        line = next(each for each in capsys.readouterr().out.splitlines() if "RMSE" in each)
        scores.append([float(word.split()[-1]) for word in line.split("rows: ")[1].split(",")])
    usual, odd = np.array(scores)
    np.testing.assert_allclose(odd, usual * [size, size, 1.0], rtol=1e-3)


def test_an_encoding_that_is_no_name_is_refused(here, capsys):
    write_columns(here / "data.csv", a=NUMBERS, y=SIGNS)
    assert train("data.csv", "--encoding", "\udc80") == 2
    assert "there is no encoding" in capsys.readouterr().err


def test_an_index_that_is_there_twice_in_a_row_of_svmlight_is_refused(here, capsys):
    (here / "data.svm").write_text("1 1:2 3:4\n0 1:2 1:3\n")
    assert train("data.svm") == 2
    assert "line 2: index 1 is there twice" in capsys.readouterr().err


def test_arrays_of_bytes_that_are_no_text_are_refused_and_of_durations_are_read(here, capsys):
    np.savez(here / "bytes.npz", X=NUMBERS[:, None], y=np.where(NUMBERS > 0, b"\xff", b"a"))
    assert train("bytes.npz") == 2
    assert "labels: the bytes b'\\xff' are no UTF-8" in capsys.readouterr().err
    np.savez(here / "times.npz", took=(NUMBERS * 1e6).astype("m8[ms]"), y=NUMBERS > 0)
    assert train("times.npz") == 0
    assert "1 duration: 'took'" in capsys.readouterr().err


def test_parquet_has_what_the_same_table_as_text_has(here, capsys):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    view = getattr(arrow, "string_view", arrow.string)  # which older versions lack
    seconds = np.abs(NUMBERS * 1e4).astype(int)
    midnight = datetime.datetime(2024, 1, 1)
    columns = {
        "id": [2**60 + i // 2 if i % 5 else None for i in range(60)],
        "at": [(midnight + datetime.timedelta(seconds=int(each))).time() for each in seconds],
        "took": [datetime.timedelta(seconds=int(each)) for each in seconds],
        "city": arrow.array(["Rome" if i % 3 else "Oslo" for i in range(60)], view()),
        "y": (NUMBERS > 0).tolist(),
    }
    parquet.write_table(arrow.table(columns), here / "data.parquet")
    assert train("data.parquet") == 0
    said = capsys.readouterr().err
    for line in ("1 time of day: 'at'", "1 duration: 'took'", "2 categories: 'id', 'city'"):
        assert line in said
    columns["took"][3] = None
    parquet.write_table(arrow.table(columns), here / "gap.parquet")
    assert main(["predict", "model.safetensors", "gap.parquet"]) == 0
    late = arrow.array([10**14] * 60, arrow.timestamp("s"))
    parquet.write_table(arrow.table({"late": late, "y": columns["y"]}), here / "late.parquet")
    assert train("late.parquet") == 2
    assert "column 'late': timestamp" in capsys.readouterr().err.split("fastnn: ")[-1]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_predictions_that_are_piped_are_utf_8_whatever_the_system_writes(
    encoding, here, monkeypatch, capsys
):
    monkeypatch.delenv("PYTHONIOENCODING", raising=False)
    write_columns(here / "data.csv", a=NUMBERS, y=SIGNS)
    assert train("data.csv") == 0
    capsys.readouterr()
    arguments = ["predict", "model.safetensors", "data.csv", "--quiet"]
    assert main([*arguments, "--out", "out.csv"]) == 0
    piped = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(piped, encoding=encoding))
    assert main(arguments) == 0
    assert piped.getvalue() == (here / "out.csv").read_bytes()
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    assert main(arguments) == 2
    assert f"PYTHONIOENCODING={encoding} has no" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdout", None)  # as after >&-
    assert main(arguments) == 2
    assert "the standard output cannot be written" in capsys.readouterr().err


def test_a_table_of_wide_letters_lines_up():
    lines = screen.table([["", "Rome", "北京"], ["Rome", "98", "0"], ["北京", "0", "102"]])
    assert lines == ["      Rome  北京", "Rome    98     0", "北京     0   102"]


def write_columns(path, **columns):
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(columns), *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    "lines",
    [
        ["1,5;2,25;3,75", "0,5;1,25;2,75"],
        ["1.234,5;0,25;-3,75", "2.345,5;1,25;2,75"],
        ["1,5\t2,25\t3,75", "0,5\t1,25\t2,75"],
        ["1,5|x|3,75", "0,5|y|2,75"],
        ["Rome;1,5;2,0", "Oslo;2,5;3,5"],
        ['"1,5","2,25"', '"0,5","1,25"'],
    ],
)
def test_a_first_line_of_decimal_commas_is_no_header(lines, here, capsys):
    (here / "data.csv").write_text("\n".join(lines * 20))
    table = ["data.csv", "--label", "-1", "--decimal", ",", "--task", "regression"]
    assert main(["train", *table, *QUICK]) == 0
    error = capsys.readouterr().err
    columns = 2 if '"' in lines[0] else 3
    assert f"data.csv: 40 rows, {columns} columns" in error
    assert "the first line has numbers, so no names" in error


def test_a_large_index_of_svmlight_is_refused_before_names_are_made_for_all(here, capsys):
    (here / "data.svm").write_text("1 1:2 200000000:1\n0 1:3\n" * 10)
    begun = time.process_time()
    assert main(["train", "data.svm", *QUICK]) == 2
    assert "200000000 columns" in capsys.readouterr().err
    assert time.process_time() - begun < 10


@pytest.mark.parametrize("ends", [("", ","), (",", ","), (",,", ",,"), (",", ""), (",", " , ")])
def test_delimiters_at_the_ends_of_lines_are_no_columns(ends, here, capsys):
    rows = [f"{number:.3f},{number > 0}" for number in NUMBERS]
    if ends == (",", ""):
        ends = ("", "")
        rows[5] += ",,"
    text = "\n".join(["a,y" + ends[0], *(row + ends[1] for row in rows)])
    (here / "data.csv").write_text(text)
    assert train("data.csv") == 0
    assert "data.csv: 60 rows, 2 columns" in capsys.readouterr().err
    (here / "data.csv").write_text(text + "\n1,True,3")
    if ends[0]:  # then it is a value of a column without a name
        return
    assert train("data.csv") == 2
    assert "line 62: 3 values where the header has 2" in capsys.readouterr().err


def test_a_header_of_numbers_is_asked_for(here, capsys):
    (here / "data.csv").write_text("2001,2002,y\n" + "1,2,a\n3,4,b\n" * 10)
    assert train("data.csv") == 2
    assert "if the first line has names, though numbers are among them, pass --header" in (
        capsys.readouterr().err
    )
    assert train("data.csv", "--header") == 0


def test_one_cell_among_numbers_to_predict_is_named_with_its_row(here, capsys):
    for wrong in ("inf", "n.a.", "12%"):
        numbers = [f"{number:.3f}" for number in NUMBERS]
        numbers[7] = wrong
        write_columns(here / "data.csv", a=NUMBERS, y=numbers)
        assert train("data.csv") == 2
        error = capsys.readouterr().err
        assert f"row 8, column 'y', the label: '{wrong}' where numbers are due" in error, error
        assert "--task classification" in error
    write_columns(here / "data.csv", a=NUMBERS, y=[*(["1", "2", "3"] * 19), "1", "2", "x"])
    assert train("data.csv") == 0  # few numbers are classes


def test_classes_that_differ_in_case_alone_are_said(here, capsys):
    write_columns(here / "data.csv", a=NUMBERS, y=["True", "FALSE", "true"] * 20)
    assert train("data.csv") == 0
    assert "'True' and 'true' are two classes" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["out.parquet", "out.npy", "out.XLSX", "out.json", "out.csv.xz"])
def test_predictions_are_not_written_under_a_name_of_another_format(name, here, capsys):
    write_columns(here / "data.csv", a=NUMBERS, y=SIGNS)
    assert train("data.csv") == 0
    capsys.readouterr()
    assert main(["predict", "model.safetensors", "data.csv", "--out", name]) == 2
    assert "predictions are written as CSV" in capsys.readouterr().err
    assert not (here / name).exists()
    for good in ("out.csv", "out.txt", "out.tsv.gz", "out", "v1.2"):
        assert main(["predict", "model.safetensors", "data.csv", "--out", good]) == 0


@pytest.mark.parametrize("cells", [["0,005417", "0,104", "2,5"], ["1,2345", "0,1", "2,5"]])
def test_digits_after_a_decimal_comma_are_no_thousands(cells, here, capsys):
    lines = [f"{cell};{sign}" for cell, sign in zip(cells * 20, SIGNS, strict=True)]
    (here / "data.csv").write_text("\n".join(["a;y", *lines]))
    assert train("data.csv") == 0
    error = capsys.readouterr().err
    assert "numbers with the decimal mark ','" in error and "thousands" not in error


def lines_of(delimiter=","):
    rows = (f"{n:.3f}{delimiter}{sign}" for n, sign in zip(NUMBERS, SIGNS, strict=True))
    return [f"a{delimiter}y", *rows]


@pytest.mark.parametrize(
    ("before", "count"),
    [
        (["# made on Monday"], 1),
        (["# made on Monday", "# by hand, with care, and slowly", "# units: m"], 3),
        (["# by hand, slowly", "# units: m"], 2),
        (["| of a survey"] * 5, 5),
    ],
)
def test_comments_before_a_table_are_left_out_and_said(before, count, here, capsys):
    (here / "plain.csv").write_text("\n".join(lines_of()), "utf-8")
    (here / "data.csv").write_text("\n".join([*before, *lines_of()]), "utf-8")
    assert train("plain.csv") == 0
    assert train("data.csv") == 0
    said = capsys.readouterr().err
    lines = "line" if count == 1 else "lines"
    assert said.count("60 rows, 2 columns") == 2
    assert f"{count} {lines} of comment before the table left out" in said
    assert main(["predict", "model.safetensors", "data.csv"]) == 0
    found = capsys.readouterr().out
    assert main(["predict", "model.safetensors", "plain.csv"]) == 0
    assert found == capsys.readouterr().out


@pytest.mark.parametrize(
    ("header", "end"), [("#a,y", ""), ("#a,y", ","), ("#a,y,", ""), ("#a,y,", ",")]
)
def test_a_header_that_begins_with_a_number_sign_is_one(header, end, here, capsys):
    lines = [line + end for line in lines_of()]
    (here / "data.csv").write_text("\n".join([header, *lines[1:]]), "utf-8")
    assert train("data.csv") == 0
    said = capsys.readouterr().err
    assert "1 number: '#a'" in said and "comment" not in said


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "^"])
def test_the_line_of_spreadsheets_that_names_the_delimiter_is_followed(delimiter, here, capsys):
    text = "\r\n".join([f"sep={delimiter}", *lines_of(delimiter)])
    (here / "data.csv").write_text(text, "utf-8-sig", newline="")
    assert train("data.csv") == 0
    said = capsys.readouterr().err
    assert "60 rows, 2 columns" in said and "1 number: 'a'" in said
    assert main(["predict", "model.safetensors", "data.csv"]) == 0


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('[{"a": 1, "y": "b"}]', "JSON; save it as CSV"),
        ('{"a": 1, "y": "b"}\n{"a": 2, "y": "c"}\n', "JSON; save it as CSV"),
        ("[\n  [1, 2],\n  [3, 4]\n]", "JSON; save it as CSV"),
        ("<!DOCTYPE html>\n<html><body>not found</body></html>", "a page of HTML or XML"),
        ('\n<?xml version="1.0"?>\n<rows/>', "a page of HTML or XML"),
    ],
)
def test_json_and_pages_are_named(text, what, here, capsys):
    for name, mark in (("data.csv", ""), ("data", "\ufeff")):
        (here / name).write_text(mark + text, "utf-8")
        assert train(name) == 2
        assert f"{name} is no table but {what}" in capsys.readouterr().err


def test_data_in_the_place_of_a_model_are_named(here, capsys):
    (here / "data.csv").write_text("\n".join(lines_of()), "utf-8")
    assert train("data.csv") == 0
    assert main(["predict", "data.csv", "model.safetensors"]) == 2
    assert "MODEL comes first, then DATA" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["ARROW1", "ARRONDISSEMENT", "PAR1", "PARCEL", "FEA1", "BZh9", "BZh", "%PDF"]
)
def test_a_header_that_begins_as_a_file_of_another_kind_is_text(name, here, capsys):
    text = "\n".join([f"{name},POP,y", *(f"{n:.3f},{n * n:.2f},{n > 0}" for n in NUMBERS)])
    for data in ("data.csv", "data.csv.gz"):
        packed = data.endswith(".gz")
        (here / data).write_bytes(gzip.compress(text.encode()) if packed else text.encode())
        assert train(data) == 0
        assert f"2 numbers: {name!r}, 'POP'" in capsys.readouterr().err
        assert main(["predict", "model.safetensors", data, "--quiet"]) == 0
        assert main(["evaluate", "model.safetensors", data, "--quiet"]) == 0
        capsys.readouterr()
    (here / "data.csv").write_text(f"y,{name}\n" + "1,2\n" * 9 + f"{name},PAR1", "utf-8")
    assert train("data.csv", "--stream") == 2
    assert "data.csv is none" in capsys.readouterr().err


def test_files_of_other_kinds_are_known_by_what_follows_their_first_letters(here, capsys):
    for start, what in (
        (b"FEA1\0\0\0\0\1\0\0\0", "a Feather file of version 1"),
        (bz2.compress(b"a,y\n1,2\n"), "packed with bzip2"),
        (bz2.compress(b""), "packed with bzip2"),
        (b"%PDF-1.7\n", "a PDF"),
        (gzip.compress(b"ARROW1\0\0\xff\xff\xff\xff"), "an Arrow file that is piped or in gzip"),
    ):
        (here / "data").write_bytes(start)
        assert train("data") == 2
        assert f"data is no table but {what}" in capsys.readouterr().err


def test_files_of_pyarrow_that_are_cut_off_are_damaged(here, capsys):
    arrow = pytest.importorskip("pyarrow")
    feather = pytest.importorskip("pyarrow.feather")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = arrow.table({"a": NUMBERS, "y": SIGNS})
    parquet.write_table(table, "parquet")
    parquet.write_table(table[:0], "no rows")
    feather.write_feather(table, "feather")
    for name in ("parquet", "no rows", "feather"):
        whole = (here / name).read_bytes()
        for count in (12, len(whole) // 2, len(whole) - 1):
            (here / "cut").write_bytes(whole[:count])
            assert train("cut") == 2
            assert "is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("delimiter", ["\t", " "])
@pytest.mark.parametrize("clocks", [("08:15", "17:30"), ("12:40", "9:59"), ("10:45", "11:05")])
def test_numbers_and_times_without_a_header_are_no_svmlight(clocks, delimiter, here, capsys):
    rows = [[str(1000 + n), *clocks] for n in range(30)]
    rows += [[str(1000 + n), "10:30", "17:45"] for n in range(30)]
    (here / "data.tsv").write_text("\n".join(map(delimiter.join, rows)) + "\n", "utf-8")
    given = [] if delimiter == "\t" else ["--delimiter", delimiter]
    assert main(["train", "data.tsv", "--label", "1", *given, *QUICK]) == 0
    assert "2 times of day: '2', '3'" in capsys.readouterr().err


def test_svmlight_of_whole_numbers_stays_what_it_is(here, capsys):
    for rows in (
        [f"{n % 2} 3:{n % 50 + 10} 12:{n % 40 + 10}" for n in range(40)],  # such as 3:10 12:59
        [f"{n % 2} 12:{n % 50 + 10} 3:{n % 9}" for n in range(40)],  # in no order
        [f"{n % 2} 12:100 3:{n % 50 + 10} # 08:15" for n in range(40)],
    ):
        (here / "data").write_text("\n".join(rows) + "\n", "utf-8")
        assert main(["train", "data", *QUICK]) == 0
        assert "columns are counted from 1" in capsys.readouterr().err
