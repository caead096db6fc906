"""Every example shows what its first line says, and saves a picture when asked."""

import importlib
import re
import subprocess
import sys

import numpy as np
import pytest

from fastnn import CorruptFile, InvalidInput, MissingExtra, cli
from fastnn.examples import running, tables
from fastnn.examples.running import examples

# What makes each quick; the rest is as a user gets it.
SETTINGS = {
    "batch_size": {"data": "digits", "accuracy": 0.85, "target": "numpy"},
    "census_income": {},
    "computation_graph": {},
    "custom_loss": {"points": 400, "epochs": 40, "target": "numpy"},
    "district_prices": {},
    "equal_weights": {"epochs": 60, "target": "numpy"},
    "house_prices": {"epochs": 3, "target": "numpy"},
    "linear_svm": {"epochs": 20, "target": "numpy"},
    "local_minimum": {"restarts": 6, "epochs": 300, "target": "numpy"},
    "own_function": {"steps": 300},
    "perceptron": {"points": 80, "target": "numpy"},
    "saturation": {"layers": 6, "units": 20, "target": "numpy"},
    "softmax_digits": {"epochs": 5, "target": "numpy"},
    "tumours": {"epochs": 5, "target": "numpy"},
    "xor": {"points": 300, "target": "numpy"},
}


@pytest.fixture
def printed(capsys, request):
    """Return what an example prints with its settings here, in lines."""

    def run(name, **settings):
        if name in ("census_income", "district_prices", "house_prices"):
            request.getfixturevalue("data_folder")
        main = importlib.import_module(f"fastnn.examples.{name}").main
        main(**{**SETTINGS[name], **settings})
        return capsys.readouterr().out.splitlines()

    return run


def after(words, lines):
    """Return the first number after `words`, in the first line that has them."""
    line = next(line for line in lines if words in line)
    return float(re.search(r"-?\d+\.?\d*(e[-+]\d+)?", line.partition(words)[2])[0])


def test_every_example_is_listed_with_what_it_shows_and_tested_here():
    found = examples()
    assert found.keys() == SETTINGS.keys()
    assert all(line.endswith(".") for line in found.values())
    command = [sys.executable, "-m", "fastnn.examples"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for name, line in found.items():
        assert re.search(rf"^{name} +{re.escape(line)}$", text, re.MULTILINE)


@pytest.mark.parametrize("name", SETTINGS)
def test_an_example_saves_a_picture_that_names_its_panels_and_axes(
    name, printed, tmp_path, pyplot, monkeypatch
):
    file, seen = tmp_path / "picture.png", []

    def save(ax, path):
        seen.extend(each for each in ax.figure.axes if each.get_label() != "<colorbar>")
        running.save_figure(ax, path)

    monkeypatch.setattr(f"fastnn.examples.{name}.save_figure", save)
    lines = printed(name, save=str(file))
    assert str(file) in lines[-1]
    pixels = pyplot.imread(file)
    assert min(pixels.shape[:2]) > 200 and pixels[..., :3].std() > 0.05
    assert not pyplot.get_fignums()
    for ax in seen:
        assert ax.get_title() or len(seen) == 1
        assert not ax.axison or (ax.get_xlabel() and ax.get_ylabel())


def test_a_loss_of_a_quantile_leaves_its_share_below_the_line(printed):
    lines = printed("custom_loss")
    shares = [after("): ", [line]) for line in lines]
    np.testing.assert_allclose(shares, [0.1, 0.5, 0.9], atol=0.05)


def test_house_prices_need_no_variable_of_the_environment(monkeypatch, tmp_path, capsys):
    from fastnn.examples import house_prices

    X, y, names = tables.california_housing()  # all, where FASTNN_DATA names their folder
    monkeypatch.delenv("FASTNN_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    house_prices.main(epochs=20, target="numpy")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("1022 districts, 8 columns")
    assert lines[-1].startswith("largest weight (mse): ")
    some, prices, same_names = tables.california_housing()
    assert same_names == names and some.shape == (1022, 8)
    if len(y) > 1022:
        np.testing.assert_allclose(some, X[7::20], rtol=1e-6)
        np.testing.assert_allclose(prices, y[7::20], rtol=1e-6)


def test_the_perceptron_says_that_it_can_draw(monkeypatch, capsys):
    from fastnn.examples import perceptron

    assert perceptron.__doc__ is not None and "--save perceptron.png" in perceptron.__doc__
    monkeypatch.setattr(sys, "argv", ["perceptron", "--points", "80", "--target", "numpy"])
    running.command_line(perceptron.main)
    assert capsys.readouterr().out.splitlines()[-1] == "With --save FILE.png it draws a picture."


def test_the_squared_error_and_the_absolute_error_are_each_best_at_their_own(printed):
    lines = printed("house_prices", epochs=15)
    for error in ("mean square error", "mean absolute error"):
        squared, absolute = (line for line in lines if line.startswith("trained on"))
        best = squared if error == "mean square error" else absolute
        other = absolute if best is squared else squared
        assert after(error, [best]) < after(error, [other])


def test_a_pipeline_of_words_and_numbers_beats_the_majority(printed):
    lines = printed("census_income")
    assert after("always saying <=50K:", lines) < 0.8
    assert after("epochs:", lines) > 0.85


def test_a_standardized_regression_predicts_dollars(printed):
    lines = printed("district_prices")
    assert after("LinearRegression: R2", lines) < 0.7
    assert after("MLPRegressor: R2", lines) > 0.75
    assert 10_000 < after("median error", lines[-1:]) < 40_000


def test_log_loss_starts_at_log_2_and_falls_far_below(printed):
    lines = printed("tumours", epochs=20)
    assert after("log loss before training:", lines) == pytest.approx(np.log(2), abs=1e-4)
    assert after("epochs:", lines) < 0.2
    assert after("accuracy", lines) > 0.93


def test_the_perceptron_stops_when_all_points_are_right(printed):
    lines = printed("perceptron")
    assert lines[-2].endswith("0 points wrong; no weight moved")
    assert lines[-1].endswith("separates all 80 points")


def test_a_stronger_penalty_makes_the_margin_wider(printed):
    weak, strong = printed("linear_svm")
    assert after("margin", [weak]) < after("margin", [strong])
    assert after("accuracy", [weak]) > 0.85


def test_no_straight_line_separates_xor_or_rings_but_a_hidden_layer_does(printed):
    lines = printed("xor")
    for name in ("xor", "rings"):
        assert after(f"{name}, a straight line: accuracy", lines) < 0.75
        assert after(f"{name}, 8 tanh units: accuracy", lines) > 0.97


def test_equal_weights_stay_equal_and_random_ones_part(printed):
    zeros, constant, random = printed("equal_weights")
    for line in (zeros, constant):
        assert after("differ by at most", [line]) < 1e-4  # sums may be rounded differently
        assert after("accuracy", [line]) < 0.8
    assert after("differ by at most", [random]) > 0.5
    assert after("accuracy", [random]) > 0.97


def test_the_gradient_vanishes_in_deep_sigmoid_layers_alone(printed):
    lines = printed("saturation")
    assert after("ratio", [line for line in lines if line.startswith("sigmoid")]) < 1e-2
    for name in ("tanh", "relu"):
        assert after("ratio", [line for line in lines if line.startswith(name)]) > 0.1


def test_gradients_shown_are_those_of_the_engine():
    from fastnn import Dense, Network, Trainer, datasets
    from fastnn.examples.saturation import gradient_norms
    from fastnn.inputs.data import check_data

    found = gradient_norms("tanh", 2, 5, "numpy")
    X, y = datasets.digits()
    network = Network(64, [Dense(5, "tanh"), Dense(5, "tanh"), Dense(10)])
    trainer = Trainer(network, target="numpy", dtype="float64")
    _, gradients = trainer._open().gradients(check_data(trainer.problem, X, y))
    expected = [np.sqrt(np.mean(W**2)) for W, _ in gradients]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_softmax_regression_reads_most_digits(printed):
    assert after("test accuracy", printed("softmax_digits")) > 0.85


def test_the_graph_shows_values_forward_and_gradients_backward(printed):
    lines = printed("computation_graph")
    rows = {line.split()[0]: line.split()[-2:] for line in lines[1:7]}
    assert rows == {
        "a": ["3", "10"], "b": ["4", "5"], "c": ["5", "10"],
        "u": ["6", "5"], "v": ["10", "5"], "J": ["50", "1"],
    }  # fmt: skip
    assert after("a little more a:", lines) == pytest.approx(10, abs=1e-3)
    assert after("from 50 to", lines) < 50


def test_random_restarts_end_lower_than_one_start(printed):
    lines = printed("local_minimum", restarts=20)
    assert after("the lowest: x = 0.5109, value", lines) < after("6.6543, value", lines)


def test_momentum_comes_nearer_in_as_many_steps(printed):
    lines = printed("own_function", steps=1000)
    assert "df/dy = 200*(y - x**2)" in lines
    assert after("momentum 0.9: after 1000 steps", lines) < 0.1
    assert after("momentum 0.0: after 1000 steps", lines) > 0.5


def test_random_restarts_find_the_network_that_most_starts_miss(printed):
    lines = printed("local_minimum", restarts=16, epochs=1500, target="cpu")
    assert after("the best has loss", lines) < 0.01
    assert lines[-1].endswith("predicts [0 1 1 0]")
    assert 0 < int(lines[-2].split()[0]) < 16


def runs_of(lines):
    """Return the table of a sweep as a dict for each row."""
    names = lines[2].split()
    return [dict(zip(names, map(float, line.split()), strict=True)) for line in lines[3:7]]


def test_larger_batches_need_more_epochs_and_less_time_an_epoch(printed):
    lines = printed("batch_size")
    runs = runs_of(lines)
    assert [run["batch_size"] for run in runs] == [1, 8, 64, 512]
    epochs = [run["epochs_to_accuracy"] for run in runs]
    assert epochs == sorted(epochs) and epochs[0] < epochs[-1]
    assert runs[0]["epoch_seconds"] > runs[-1]["epoch_seconds"]
    assert lines[-2].endswith("epochs") and lines[-1].startswith("soonest there: batches of")


def test_the_trade_off_of_batch_sizes_shows_on_mnist(printed, data_folder):
    runs = runs_of(printed("batch_size", data="mnist", accuracy=0.9, target="cpu"))
    epochs = [run["epochs_to_accuracy"] for run in runs]
    assert epochs == sorted(epochs) and epochs[0] < epochs[-1]
    assert runs[0]["epoch_seconds"] > runs[-1]["epoch_seconds"]


def test_a_data_set_that_is_not_known_is_refused(printed):
    with pytest.raises(InvalidInput, match="data must be 'mnist' or 'digits', not 'iris'"):
        printed("batch_size", data="iris")


def test_options_of_the_command_line_are_the_arguments_of_main(tmp_path):
    file = tmp_path / "graph.png"
    command = [sys.executable, "-m", "fastnn.examples.computation_graph"]
    command += ["--a", "1", "--b", "2", "--c", "3", "--save", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert re.search(r"^J +v\*c +12 +1$", done.stdout, re.MULTILINE)
    assert file.read_bytes().startswith(b"\x89PNG")


def test_an_error_of_the_family_is_one_line_and_ends_with_2():
    command = [sys.executable, "-m", "fastnn.examples.xor", "--points", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("fastnn: n must be") and done.stderr.count("\n") == 1


def test_a_picture_without_matplotlib_is_refused_before_anything_is_trained(monkeypatch, capsys):
    from fastnn.examples import xor

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(sys, "argv", ["xor", "--save", "xor.png"])
    with pytest.raises(SystemExit) as stop:
        running.command_line(xor.main)
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert not out and 'pip install "fastnn[plots]"' in err


def test_a_picture_into_a_missing_folder_is_refused_before_anything_is_trained(
    monkeypatch, capsys, tmp_path
):
    from fastnn.examples import xor

    monkeypatch.setattr(sys, "argv", ["xor", "--save", str(tmp_path / "absent" / "xor.png")])
    with pytest.raises(SystemExit) as stop:
        running.command_line(xor.main)
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert not out and "--save: there is no folder" in err and "absent'" in err


def test_house_prices_that_are_nowhere_name_where_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path))
    with pytest.raises(InvalidInput, match=r"housing.csv from https://.* FASTNN_DATA"):
        tables.california_housing()


def test_house_prices_leave_districts_with_a_missing_number_out(monkeypatch, tmp_path):
    names = (*tables._COLUMNS, "median_house_value", "ocean_proximity")
    rows = ["1,2,3,4,5,6,7,8,250000,INLAND", "1,2,3,4,,6,7,8,100000,INLAND"]
    (tmp_path / "housing.csv").write_text("\n".join((",".join(names), *rows)))
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path))
    X, y, _ = tables.california_housing()
    assert X.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8]] and y.tolist() == [2.5]


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "longitude\n"])
def test_a_file_without_the_columns_is_reported(text, monkeypatch, tmp_path):
    (tmp_path / "housing.csv").write_text(text)
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path))
    with pytest.raises(CorruptFile, match=r"housing\.csv"):
        tables.california_housing()


def test_tumours_without_scikit_learn_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtra, match=r'pip install "fastnn\[sklearn\]"'):
        tables.breast_cancer()


def test_a_damaged_archive_is_reported(monkeypatch, tmp_path):
    (tmp_path / "california-housing.csv.gz").write_bytes(b"\x1f\x8b\x08" + bytes(30))
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path))
    with pytest.raises(CorruptFile, match="download it again"):
        tables.california_housing()


def test_a_picture_is_named_as_it_is_written_or_refused_before_the_training(
    tmp_path, monkeypatch, capsys
):
    pytest.importorskip("matplotlib")
    main = importlib.import_module("fastnn.examples.computation_graph").main
    for name, wrong in (("x.xyz", "no picture ends in '.xyz'"), ("", "no name of a picture")):
        path = str(tmp_path / name) if name else ""
        monkeypatch.setattr(sys, "argv", ["computation_graph", "--save", path])
        with pytest.raises(SystemExit) as end:
            running.command_line(main)
        out, err = capsys.readouterr()
        assert end.value.code == 2 and not out and wrong in err
    monkeypatch.setattr(sys, "argv", ["computation_graph", "--save", str(tmp_path / "x")])
    running.command_line(main)
    assert f"The picture is in {tmp_path / 'x.png'}." in capsys.readouterr().out
    assert [file.name for file in tmp_path.iterdir()] == ["x.png"]


def test_the_help_of_an_example_says_what_it_shows(capsys):
    assert cli.main(["examples", "xor", "--help"]) == 0
    assert examples()["xor"] in " ".join(capsys.readouterr().out.split())


def test_points_that_no_line_separates_are_not_said_to_be(printed, monkeypatch):
    rows = np.random.default_rng(0).normal(size=(30, 2)), np.arange(30) % 2
    monkeypatch.setattr("fastnn.examples.perceptron.separable", lambda *_: rows)
    line = printed("perceptron")[-1]
    assert 0 < after("separates", [line]) < 30 and line.endswith("of 30 points")
