"""Exit statuses, the verb dispatcher, and how soon --help answers."""

import errno
import os
import subprocess
import sys

import pytest
import tensorflow as tf

from rbkeras import __main__, __version__
from rbkeras.cli import continues, load_tensorflow, run_command
from rbkeras.errors import InputError


def raising(error):
    def work():
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (InputError("a.npy: expected x, found y"), 2, "error: a.npy: expected x, found y\n"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out"), 1, "cannot write out"),
        (PermissionError(errno.EACCES, "", "in"), 1, "cannot read or write in: Permission"),
        (MemoryError("Unable to allocate 7 TiB"), 1, "not enough memory: Unable to allocate 7 TiB"),
        (FileExistsError(errno.EEXIST, "", "out"), 2, "error: out: expected a folder"),
        (NotADirectoryError(errno.ENOTDIR, "", "out/x"), 2, "error: out/x: expected a path"),
        (IsADirectoryError(errno.EISDIR, "", "in"), 2, "error: in: expected a file"),
        (OSError(errno.EFBIG, "", "out"), 1, "cannot write out: File too large"),
        (KeyboardInterrupt(), 1, "interrupted\n"),
        (tf.errors.ResourceExhaustedError(None, None, "OOM\nat"), 1, "lower the batch size"),
        (
            tf.errors.ResourceExhaustedError(None, None, "a\nout/cache; No space left on device"),
            1,
            "error: cannot write: No space left on device",
        ),
    ],
)
def test_expected_failures_are_one_line_and_a_status(error, status, said, capsys):
    assert run_command(raising(error)) == status
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1


def test_what_goes_on_after_an_interruption_says_so(capsys):
    assert run_command(raising(KeyboardInterrupt()), interrupted=continues()) == 1
    said = "interrupted; the same command continues where this one stopped\n"
    assert capsys.readouterr().err == said
    run_command(raising(KeyboardInterrupt()), interrupted=continues(overwrite=True))
    assert "the same command without --overwrite continues" in capsys.readouterr().err


@pytest.mark.parametrize("error", [ValueError("defect"), OSError(errno.EIO, "defect")])
def test_defects_are_raised(error):
    with pytest.raises(type(error), match="defect"):
        run_command(raising(error))


def test_another_backend_of_keras_is_refused(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(InputError, match="KERAS_BACKEND: expected tensorflow, found 'jax'"):
        load_tensorflow()


def test_work_that_is_done_is_status_0_unless_it_says_otherwise():
    assert run_command(lambda: None) == 0
    assert run_command(lambda: 1) == 1


def test_every_verb_is_a_module_with_main(capsys):
    import importlib

    for verb in __main__.COMMANDS:
        assert callable(importlib.import_module(__main__.module_of(verb)).main)
    assert __main__.main([]) == 0
    shown = capsys.readouterr().out
    assert all(verb in shown for verb in __main__.COMMANDS)


def test_unknown_verbs_are_status_2(capsys):
    assert __main__.main(["frobnicate"]) == 2
    assert "frobnicate" in capsys.readouterr().err


def test_the_dispatcher_passes_arguments_on(tmp_path, capsys):
    assert __main__.main(["convert", str(tmp_path / "none"), str(tmp_path / "out")]) == 2
    assert "expected a survey directory" in capsys.readouterr().err
    assert __main__.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize("verb", sorted(__main__.COMMANDS))
def test_help_does_not_load_tensorflow(verb):
    code = (
        "import sys, importlib\n"
        f"module = importlib.import_module('{__main__.module_of(verb)}')\n"
        "try:\n    module.main(['--help'])\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "assert 'tensorflow' not in sys.modules, 'tensorflow'\n"
        "assert 'pandas' not in sys.modules, 'pandas'\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert "usage" in finished.stdout


def test_what_a_file_would_have_a_terminal_do_is_spelled_out(capsys):
    def work():
        raise InputError("a.csv: found the column \x1b[2Jé\r")

    assert run_command(work) == 2
    assert capsys.readouterr().err == "error: a.csv: found the column \\x1b[2Jé\\r\n"
