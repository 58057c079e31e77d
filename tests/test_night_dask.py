"""`predict` on Dask, by real worker processes."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from packets import write_packets, ztf_packet

from rbkeras import predict, scoring
from rbkeras.data.sources import open_source
from rbkeras.data.write_records import convert_survey
from rbkeras.decision import Decision, OperatingPoint, SecondLook
from rbkeras.errors import InputError
from rbkeras.file_states import checksum
from rbkeras.models.classifier import build_classifier
from rbkeras.parts import parts_folder
from rbkeras.scoring_pieces import score_piece, scoring_pieces


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.keras"
    classifier = build_classifier((11, 11, 3), network="compact", width=0.25)
    # Every stamp gets a second look, and half of all calls real.
    point = OperatingPoint(true_positive_rate=0.9, threshold=0.0, false_positive_rate=0.1)
    own = Decision(operating_point=point, n_real=9, n_bogus=9, training_prevalence=0.5)
    again = SecondLook(from_score=-1e3, share=1.0, decision=own)
    classifier.decision = replace(own, second_look=again)
    classifier.save(path)
    return path


@pytest.fixture
def night(tmp_path):
    rng = np.random.default_rng(0)
    paths = []
    for number, count in enumerate((30, 0, 50, 7)):
        paths.append(tmp_path / f"night{number}.npy")
        np.save(paths[-1], rng.normal(size=(count, 11, 11, 3)).astype(np.float32))
    return paths


def run(model, inputs, out, *flags):
    return predict.main([str(one) for one in (model, *inputs, "--out", out, *flags)])


@pytest.mark.parametrize("flags", [[], ["--once"]])
def test_workers_write_the_table_that_one_process_writes(model, night, tmp_path, flags):
    common = ["--batch_size", 16, "--prevalence", 1e-3, *flags]
    assert run(model, night, tmp_path / "alone.csv", *common) == 0
    assert run(model, night, tmp_path / "shared.csv", "--dask", "local:2", *common) == 0
    alone, shared = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("alone", "shared"))
    assert len(shared) == 87
    assert shared["probability_real"].max() < 0.01
    # The number of threads may change the order of sums.
    pd.testing.assert_frame_equal(alone, shared, rtol=1e-4, atol=1e-5)
    assert not parts_folder(tmp_path / "shared.csv").exists()


def test_alert_files_share_pieces(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scoring, "_PACKETS_TOGETHER", 3)
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    files = [f"{number}.avro" for number in range(5)]
    for number, name in enumerate(files):
        images = [rng.normal(size=(13, 13)).astype(np.float32) for _ in range(3)]
        write_packets(tmp_path / name, [ztf_packet(number, images=images)])
    write_packets(tmp_path / files[3], [ztf_packet(3) | {"cutoutScience": None}])
    said = []
    for out, dask in (("alone.csv", []), ("shared.csv", ["--dask", "local:2"])):
        assert run(model, files, out, "--skip_bad", *dask) == 1
        said.append(capsys.readouterr().err.splitlines()[-1])
    assert said[0] == said[1] == ("skipped: 3.avro: packet 1: expected a cutoutScience, found none")
    alone, shared = (pd.read_csv(f"{name}.csv") for name in ("alone", "shared"))
    assert shared["source"].tolist() == files
    pd.testing.assert_frame_equal(alone, shared, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"digest": "of another"}, "expected the model that scoring began with"),
        ({"folder": "/no/such", "names": ["night0.npy"]}, "/no/such: expected the folder of the"),
    ],
)
def test_a_piece_scores_nothing_but_what_its_command_has_seen(
    model, night, tmp_path, monkeypatch, other, said
):
    monkeypatch.chdir(tmp_path)
    options = {"engine": "keras", "threshold": None, "prevalence": None, "batch_size": 16}
    options |= {"skip_bad": False, "threads": None, "once": False}
    sources = {0: open_source(night[0], stamp_shape=(11, 11, 3))}
    (piece,) = scoring_pieces(model, sources, tmp_path / "s.csv", options, digest=checksum(model))
    with pytest.raises(InputError, match=said):
        score_piece(**piece.arguments | other)


def test_a_file_that_changes_meanwhile_moves_no_other(model, tmp_path, monkeypatch):
    """Its command, which has counted it, scores the group of such a file itself."""
    rng = np.random.default_rng(0)
    files = [tmp_path / f"{number}.avro" for number in range(3)]

    def write(path, count):
        images = [rng.normal(size=(13, 13)).astype(np.float32) for _ in range(3)]
        packets = [ztf_packet(10 * int(path.stem) + n, images=images) for n in range(count)]
        write_packets(path, packets)

    for path in files:
        write(path, 3)
    scored = scoring.do_on_dask

    def meanwhile(*arguments, **options):
        write(files[1], 4)
        return scored(*arguments, **options)

    monkeypatch.setattr(scoring, "do_on_dask", meanwhile)
    out = tmp_path / "scores.csv"
    assert run(model, files, out, "--skip_bad", "--dask", "local:1") == 0
    table = pd.read_csv(out)
    assert table["source"].tolist() == np.repeat(list(map(str, files)), 3).tolist()
    assert table["sample_index"].tolist() == [0, 1, 2] * 3
    assert table["score"].notna().all()


@pytest.mark.slow
def test_what_others_gave_is_kept_when_an_input_is_bad(model, night, tmp_path, make_survey, capsys):
    survey = make_survey(tmp_path / "survey", shape=(11, 11, 3))
    convert_survey(survey, tmp_path / "records", progress=False)
    path = tmp_path / "records" / "data1.tfrecord"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    inputs, out = [night[0], tmp_path / "records", night[3]], tmp_path / "scores.csv"
    assert run(model, inputs, out, "--dask", "local:2") == 2
    assert "records: expected whole records" in capsys.readouterr().err.splitlines()[-1]
    assert len(list(parts_folder(out).glob("*.parquet"))) == 2
    flags = ["--dask", "local:2", "--skip_bad"]
    assert run(model, inputs, out, *flags) == 1
    assert "are scored already" in capsys.readouterr().err
    assert set(pd.read_csv(out)["source"]) == {str(night[0]), str(night[3])}


def test_a_wrong_scheduler_is_one_sentence(model, night, tmp_path, capsys):
    assert run(model, night, tmp_path / "scores.csv", "--dask", "local:0") == 2
    assert "--dask: expected local:N" in capsys.readouterr().err
