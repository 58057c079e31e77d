"""`python -m rbkeras.convert`: surveys, alert packets, FITS stamps or other records to records."""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rbkeras.cli import add_labels, continues, load_tensorflow, run_command, words_of
from rbkeras.errors import InputError

if TYPE_CHECKING:
    from rbkeras.data.samples import BlockSource

#: A camera's chip has no more; a slip of the keyboard should not fill the memory.
_LARGEST_SIZE = 10_000
_EXAMPLES = """\
examples:
  python -m rbkeras.convert data/raw/real_bogus1 data/processed/real_bogus1
  python -m rbkeras.convert SURVEY RECORDS --labels asteroid=1 variable=1 junk=0
  python -m rbkeras.convert SURVEY/january SURVEY/february RECORDS
  python -m rbkeras.convert RECORDS OTHER_RECORDS SURVEY JOINED
  python -m rbkeras.convert COMPRESSED_OR_ORIGINAL_RECORDS RECORDS
  python -m rbkeras.convert ALERTS RECORDS --size 29 --labels_csv labels.csv
  python -m rbkeras.convert ALERTS RECORDS --size 29 --score_threshold 0.5
  python -m rbkeras.convert FITS_FOLDER RECORDS --size 29

Alerts are Avro files with cutoutScience, cutoutTemplate and cutoutDifference; FITS stamps are
listed in FITS_FOLDER/stamps.csv. docs/formats.md says how. Exit status 1 with --skip_bad means that
stamps were left out; they are named on stderr.
"""
_REMARKS = {
    "stamps_with_missing_pixels": "stamps with missing pixels (NaN, infinite)",
    "stamps_with_constant_channel": "stamps with a channel of one value",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see `--help`."""
    arguments = _parser().parse_args(words_of(argv))

    def work() -> int:
        from rbkeras.data.labels import parse_labels

        labels = parse_labels(arguments.labels)
        options = {"labels": labels, "compress": arguments.compress}
        options["overwrite"] = arguments.overwrite
        status = _convert(arguments, options)
        _say_what_there_is(Path(arguments.records))
        return status

    return run_command(work, interrupted=continues(overwrite=arguments.overwrite))


def _say_what_there_is(records: Path) -> None:
    from rbkeras.data.checking import remarks_on_shape
    from rbkeras.data.manifest import read_manifest

    found = read_manifest(records)
    counts = ", ".join(f"{found[name]} {name}" for name in ("real", "bogus", "unlabelled"))
    print(f"{records}: {found['size']} stamps of {len(found['detectors'])} detectors: {counts}")
    for name, what in _REMARKS.items():
        if found[name]:
            print(f"{records}: {found[name]} {what}")
    for remark in remarks_on_shape(found["stamp_shape"]):
        print(f"{records}: {remark}")
    if not found["real"] or not found["bogus"]:
        print(
            f"{records}: fit needs labels of both classes; what names in object_type mean is said "
            "by --labels, and labels of alert packets by --labels_csv or --score_threshold"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rbkeras convert",
        description="Convert a survey directory (images<ID>.npy, params<ID>.csv), alert packets "
        "(*.avro), FITS stamps (stamps.csv) or other records to TFRecords.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="survey directories and records; Avro files and folders of them; or a folder of FITS "
        "stamps",
    )
    parser.add_argument("records", help="records directory to write")
    add_labels(parser, "what names in object_type")
    parser.add_argument("--compress", action="store_true", help="write GZIP (smaller, slower)")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="write all anew, over any records",
    )
    group = parser.add_argument_group("alert packets and FITS stamps")
    group.add_argument(
        "--size", type=int, metavar="N", help="cut and NaN-pad all to N x N pixels (as they are)"
    )
    group.add_argument("--skip_bad", action="store_true", help="leave out stamps that are at fault")
    group = parser.add_argument_group("alert packets, which are unlabelled otherwise")
    group.add_argument(
        "--labels_csv", metavar="FILE", help="table of alert_id, object_type and maybe trusted"
    )
    group.add_argument(
        "--score_threshold",
        type=float,
        metavar="S",
        help="real where the survey's own score is at least S, else bogus",
    )
    group.add_argument(
        "--score_field",
        metavar="PLACE",
        help="where that score stands, such as candidate.rb (drb, rb or reliability)",
    )
    return parser


def _convert(arguments: argparse.Namespace, options: dict) -> int:
    first, records = Path(arguments.inputs[0]), Path(arguments.records)
    if _kind(records) in ("survey", "FITS stamps") or any(records.glob("*.avro")):
        raise InputError(
            f"{records}: expected a directory for records, named last, found stamps to convert"
        )
    kinds = {one: _kind(Path(one)) for one in arguments.inputs}
    kind = kinds[arguments.inputs[0]]
    foreign = [one for one in kinds if kinds[one] in ("alerts", "FITS stamps")]
    if foreign and {"survey", "records"} & set(kinds.values()):
        raise InputError(
            f"{foreign[0]}: expected only surveys and records where there are some; convert alert "
            "packets and FITS stamps by themselves first, and name their records"
        )
    if kind == "alerts":
        return _convert_alerts(arguments, options)
    if len(arguments.inputs) > 1 and kind not in ("survey", "records"):
        raise InputError(
            f"{first}: expected survey directories and records, or Avro files and folders of them, "
            "where there are several inputs"
        )
    _refuse(arguments, "labels_csv", "score_threshold", "score_field", kind="alert packets")
    if kind == "FITS stamps":
        return _convert_fits(arguments, options)
    if kind == "nothing" and first.is_dir():
        raise InputError(
            f"{first}: expected images<ID>.npy, alert packets (*.avro), stamps.csv or records, "
            "found none"
        )
    _refuse(arguments, "size", "skip_bad", kind="alert packets or FITS stamps")
    if kind == "records" and len(arguments.inputs) == 1:
        return _convert_records(first, arguments.records, options)
    return _convert_survey(arguments.inputs, arguments.records, options)


def _kind(path: Path) -> str:
    """Say what lies at a path: survey, alerts, FITS stamps, records or nothing of these."""
    from rbkeras.data.avro import is_alerts
    from rbkeras.data.fits_source import is_fits_table
    from rbkeras.data.records import is_records
    from rbkeras.data.survey import is_survey

    kinds = {"survey": is_survey, "alerts": is_alerts, "FITS stamps": is_fits_table}
    kinds["records"] = is_records
    return next((kind for kind, is_there in kinds.items() if is_there(path)), "nothing")


def _refuse(arguments: argparse.Namespace, *names: str, kind: str) -> None:
    for name in names:
        if getattr(arguments, name) not in (None, False):
            raise InputError(f"--{name}: expected {kind}, found none in {arguments.inputs[0]}")


def _convert_survey(surveys: Sequence[str], records: str, options: dict) -> int:
    from rbkeras.data.write_records import convert_survey
    from rbkeras.machine import allow_open_files

    allow_open_files()
    survey, *more = surveys
    convert_survey(survey, records, more=more, **options)
    return 0


def _convert_records(directory: Path, records: str, options: dict) -> int:
    from rbkeras.data.blocks import has_blocks
    from rbkeras.data.joined_survey import joined_labels
    from rbkeras.data.manifest import MANIFEST
    from rbkeras.data.records import open_records

    if (directory / MANIFEST).exists() and has_blocks(open_records(directory)):
        return _convert_survey([str(directory)], records, options)
    load_tensorflow()
    from rbkeras.data.streamed_records import StreamedRecords

    if Path(records).resolve() == directory.resolve():
        raise InputError(f"{records}: expected another directory to write than that to read")
    labels = joined_labels([directory], labels=options["labels"])
    of_records = {"labels": labels, "labelled": True}
    return _convert_source(StreamedRecords(directory), records, options | of_records, [])


def _convert_alerts(arguments: argparse.Namespace, options: dict) -> int:
    from rbkeras.data.alert_labels import (
        Namer,
        names_by_score,
        own_names,
        read_label_table,
        require_scores,
    )
    from rbkeras.data.alert_source import AlertSource
    from rbkeras.data.alerts import repeated_alerts

    if arguments.labels_csv and arguments.score_threshold is not None:
        raise InputError("expected at most one of --labels_csv and --score_threshold, got both")
    namer: Namer = own_names
    truster: Namer | None = None
    if arguments.labels_csv:
        table = read_label_table(arguments.labels_csv)
        namer, truster = table.name, None if table.trusted is None else table.trust
    elif arguments.score_threshold is not None:
        if not math.isfinite(arguments.score_threshold):
            raise InputError(
                f"--score_threshold: expected a finite score, got {arguments.score_threshold}"
            )
        namer = names_by_score(arguments.score_threshold)
    if arguments.score_field is not None:
        namer = require_scores(namer, arguments.score_field)
    bad: list[str] = []
    on_bad = bad.append if arguments.skip_bad else None
    source = AlertSource(
        arguments.inputs,
        size=_size(arguments),
        score_field=arguments.score_field,
        on_bad=on_bad,
    )
    of_alerts = {"namer": namer, "truster": truster, "repeated": repeated_alerts, "on_bad": on_bad}
    return _convert_source(source, arguments.records, options | of_alerts, bad)


def _convert_fits(arguments: argparse.Namespace, options: dict) -> int:
    from rbkeras.data.fits_source import FitsSource

    bad: list[str] = []
    on_bad = bad.append if arguments.skip_bad else None
    source = FitsSource(arguments.inputs[0], size=_size(arguments), on_bad=on_bad)
    of_fits = {"repeated": source.repeated, "on_bad": on_bad}
    return _convert_source(source, arguments.records, options | of_fits, bad)


def _size(arguments: argparse.Namespace) -> int | None:
    if arguments.size is not None and not 1 <= arguments.size <= _LARGEST_SIZE:
        raise InputError(f"--size: expected 1 to {_LARGEST_SIZE}, got {arguments.size}")
    return arguments.size


def _convert_source(source: "BlockSource", records: str, options: dict, bad: list[str]) -> int:
    from rbkeras.data.write_source import convert_source

    convert_source(source, records, **options)
    for sentence in bad:
        print(f"skipped: {sentence}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
