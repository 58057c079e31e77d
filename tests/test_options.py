"""Presets, YAML files and flags, in their order of precedence."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from rbkeras.config import FitConfig
from rbkeras.options import make_parser, parse_config, write_config
from rbkeras.presets import PRESETS


def parse(*argv):
    parser = make_parser(prog="test", description="A test.", examples="examples:")
    return parse_config(parser, list(argv))[0]


def test_without_data_the_preset_is_quick():
    config = parse()
    assert config.preset == "quick"
    assert config.training.epochs == PRESETS["quick"]["training.epochs"]


def test_with_data_the_preset_is_default():
    config = parse("--data", "records")
    assert config.preset == "default"
    assert config.training == FitConfig().training
    assert config.data == Path("records")


def test_every_preset_names_fields_that_exist_and_parses():
    for name, changes in PRESETS.items():
        config = parse("--preset", name)
        for flag, value in changes.items():
            section, key = flag.split(".")
            assert getattr(getattr(config, section), key) == value


def test_flags_win_over_the_file_and_the_file_over_the_preset(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("preset: original\ntraining: {epochs: 7, batch_size: 32}\n")
    flags, named = ["--training.batch_size", "16"], ["--config", str(file)]
    for config in (parse(*named, *flags), parse(*flags, *named), parse(*flags, "=".join(named))):
        assert config.training.batch_size == 16
        assert config.training.epochs == 7
        assert config.optimizer.name == "sgd"


def test_written_settings_come_back_the_same(tmp_path):
    paths = ["--data", str(tmp_path / "records"), "--out", str(tmp_path / "run")]
    config = parse(*paths, "--model.width", "0.5", "--deterministic")
    assert config.deterministic
    # Said once, it is not meant for the next run.
    write_config(tmp_path / "config.yaml", replace(config, overwrite=True))
    assert parse("--config", str(tmp_path / "config.yaml")) == config
    write_config(tmp_path / "config.yaml", config)
    assert parse("--config", str(tmp_path / "config.yaml")) == config
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["model"]["width"] == 0.5


def test_written_paths_hold_wherever_they_are_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = parse("--data", "records", "--label_errors.table", "stage1/label_errors.csv")
    write_config("config.yaml", config)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    again = parse("--config", "../config.yaml")
    assert again.data == tmp_path / "records"
    assert again.out == tmp_path / "rbkeras-run"
    assert again.label_errors.table == tmp_path / "stage1" / "label_errors.csv"


def test_what_is_printed_is_what_is_run(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        parse("--preset", "original", "--training.epochs", "3", "--print_config")
    assert stopped.value.code == 0
    (tmp_path / "printed.yaml").write_text(capsys.readouterr().out)
    printed = parse("--config", str(tmp_path / "printed.yaml"))
    assert printed == parse("--preset", "original", "--training.epochs", "3")
    assert printed.model.network == "complex"


@pytest.mark.parametrize(
    "argv",
    [
        ["--model.network", "huge"],
        ["--training.epochs", "many"],
        ["--preset", "fancy"],
        ["--config", "nowhere.yaml"],
    ],
)
def test_values_of_the_wrong_kind_are_refused_with_status_2(argv):
    with pytest.raises(SystemExit) as stopped:
        parse(*argv)
    assert stopped.value.code == 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"- seed\n",
        b"training: [1,\n",
        b"\xff\xfe\x00",
        b"learning_rate: 1\n",
        b"model: {networkk: simple}\n",
        b"seed: many\n",
        b'overwrite: "false"\n',
        b"deterministic: [1]\n",
        b"model: {network: huge}\n",
        b"!!python/object/apply:os.getcwd []\n",
        b"config: other.yaml\n",
        b"config.x: other.yaml\n",
        b"a: &a [*a]\n",
        b"seed: &one 1\nhold_out: *one\n",
        b"seed: 1\n" * 20_000,
    ],
)
@pytest.mark.parametrize("joined", [False, True])
def test_a_file_at_fault_is_named_in_one_line(content, joined, tmp_path, capsys):
    file = tmp_path / "run.yaml"
    file.write_bytes(content)
    flags = [f"--config={file}"] if joined else ["--config", str(file)]
    with pytest.raises(SystemExit) as stopped:
        parse(*flags, "--seed", "1")
    assert stopped.value.code == 2
    assert re.fullmatch(rf"error: {re.escape(str(file))}: .+\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    "content",
    [
        "model: {class_path: evil.Settings}\n",
        "model.class_path: evil.Settings\n",
        "training: {init_args: [{class_path: evil.Settings}]}\n",
        "model: evil.Settings\n",
        "config: other.yaml\n",
    ],
)
def test_a_file_has_no_module_imported(content, tmp_path, monkeypatch, capsys):
    (tmp_path / "evil.py").write_text("from pathlib import Path\nPath('mark').touch()\n")
    (tmp_path / "other.yaml").write_text("model: {class_path: evil.Settings}\n")
    (tmp_path / "run.yaml").write_text(content)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SystemExit):
        parse("--config", "run.yaml")
    assert capsys.readouterr().err.startswith("error: run.yaml: expected settings")
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    "argv",
    [["--conf", "run.yaml"], ["--conf=run.yaml"], ["--model", "run.yaml"], ["--model=evil.A"]],
)
def test_nor_has_a_file_that_is_named_otherwise(argv, tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("from pathlib import Path\nPath('mark').touch()\n")
    (tmp_path / "run.yaml").write_text("class_path: evil.A\nmodel: {class_path: evil.A}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SystemExit):
        parse(*argv)
    assert not (tmp_path / "mark").exists()


def test_a_flag_at_fault_is_not_blamed_on_the_file(tmp_path, capsys):
    file = tmp_path / "run.yaml"
    file.write_text("seed: 3\n")
    with pytest.raises(SystemExit):
        parse("--config", str(file), "--training.epochs", "many")
    message = capsys.readouterr().err
    assert "training.epochs" in message
    assert str(file) not in message


def test_every_setting_has_a_help_text(capsys):
    parser = make_parser(prog="test", description="A test.", examples="examples:")
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    shown = capsys.readouterr().out
    assert "Rotate by 90 degrees and flip at random" in shown
    assert "Wrongness, 1 - label_quality of" in shown


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--preset", "fast"],
            "--preset: expected one of default, quick, original or null, got fast",
        ),
        (["--training.epochs", "x"], "--training.epochs: expected an integer, got x"),
        (
            ["--optimizer.name", "foo"],
            "--optimizer.name: expected one of adamw, adam, sgd, adadelta, got foo",
        ),
        (["--optimizer.clip_norm", "x"], "--optimizer.clip_norm: expected a number or null, got x"),
        (["--training.augment", "7"], "--training.augment: expected true or false, got 7"),
        (
            ["--epochs", "3"],
            "unrecognized arguments: --epochs 3; did you mean --label_errors.epochs or "
            "--training.epochs?",
        ),
        (["--holdout", "0.2"], "unrecognized arguments: --holdout 0.2; did you mean --hold_out?"),
        (["--zzz", "1"], "unrecognized arguments: --zzz 1"),
    ],
)
def test_a_wrong_flag_is_told_as_all_other_bad_input(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as exited:
        parse_config(make_parser(prog="test", description="", examples=""), arguments)
    assert exited.value.code == 2
    assert capsys.readouterr().err == f"error: {sentence}\n"
