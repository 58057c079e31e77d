"""Fetch the survey's published training set, or a copy of it on a plain HTTP server."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rbkeras.cli import continues, run_command, words_of
from rbkeras.data.archives import unpack_archives
from rbkeras.data.published import RemoteFile, files_of_doi, files_of_mirror, size_by_asking
from rbkeras.data.transfer import download, human_size
from rbkeras.errors import InputError

DOI = "10.5281/zenodo.6691804"
OUT = Path(__file__).resolve().parent / "raw" / "real_bogus1"

_EXAMPLES = """\
examples:
  python data/download.py                  the published set, into data/raw/real_bogus1
  python data/download.py --list           only show what there is and how large it is
  python data/download.py --out /disk/rb   somewhere else
  python data/download.py --base-url http://mirror.example/rb/ --registry files.txt
                                           a copy; files.txt has lines 'NAME sha256:HEX'
                                           or 'NAME md5:HEX'

The same command, run again, fetches only what is missing and continues a file from where it
stopped.
"""


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="python data/download.py",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--out", type=Path, default=OUT, help=f"folder to fill (default: {_shown(OUT)})"
    )
    parser.add_argument("--doi", default=DOI, help="DOI of the record (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="only show names and sizes")
    parser.add_argument("--base-url", metavar="URL", help="fetch from here instead of the DOI")
    parser.add_argument(
        "--registry", type=Path, metavar="FILE", help="names and checksums of what --base-url holds"
    )
    parser.add_argument(
        "--retries",
        type=int,
        default=5,
        metavar="N",
        help="how often to try again when a connection brings nothing new (default: %(default)s)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    args = build_parser().parse_args(words_of(argv))
    return run_command(lambda: _run(args), interrupted=continues())


def _run(args: argparse.Namespace) -> None:
    if (args.base_url is None) != (args.registry is None):
        raise InputError("--base-url and --registry: expected both or neither, got one of them")
    if args.retries < 0:
        raise InputError(f"--retries: expected a number of at least 0, got {args.retries}")
    if args.base_url is None:
        files = files_of_doi(args.doi)
    else:
        files = files_of_mirror(args.base_url, args.registry)
    if args.list:
        _show(files)
    else:
        download(files, out=args.out, retries=args.retries)
        unpack_archives(files, out=args.out)
        _say_what_next(args.out)


def _show(files: Sequence[RemoteFile]) -> None:
    sizes = [size_by_asking(file) for file in files]
    for file, size in zip(files, sizes, strict=True):
        print(f"{human_size(size):>10}  {file.name}")
    known = [size for size in sizes if size is not None]
    total = sum(known) if len(known) == len(sizes) else None
    print(f"{human_size(total):>10}  in {len(files)} files")


def _say_what_next(out: Path) -> None:
    """Name the folders that `rbkeras.convert` takes, wherever the record put them."""
    for folder in sorted({path.parent for path in out.rglob("images*.npy")}):
        images, params = (len(list(folder.glob(p))) for p in ("images*.npy", "params*.csv"))
        print(f"{_shown(folder)}: {images} images*.npy, {params} params*.csv")
        in_place = folder.resolve().is_relative_to(OUT.parent)
        records = _shown(OUT.parents[1] / "processed" / folder.name) if in_place else "RECORDS"
        print(f"next: python -m rbkeras.convert {_shown(folder)} {records}")


def _shown(path: Path) -> str:
    """Shorten paths below the current folder."""
    path = path.resolve()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


if __name__ == "__main__":
    sys.exit(main())
