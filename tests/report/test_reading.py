from rbkeras.report.reading import logs


def test_a_number_of_folds_that_cannot_be_ends(tmp_path):
    folder = tmp_path / "folds" / "1"
    folder.mkdir(parents=True)
    (folder / "log.csv").write_text("epoch,loss\n0,0.5\n")
    assert list(logs(tmp_path, {"folds": 10**9, "repeats": 1})) == ["fold 1"]
