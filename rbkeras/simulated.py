"""A survey simulated inside a run directory, where no data are named."""

from dataclasses import asdict, replace
from pathlib import Path

from rbkeras import __version__
from rbkeras.config import FitConfig
from rbkeras.data.manifest import MANIFEST
from rbkeras.data.write_records import convert_survey
from rbkeras.errors import InputError
from rbkeras.locks import alone
from rbkeras.resume import claim, mark_finished


def simulated(config: FitConfig) -> FitConfig:
    """Simulate a survey inside the run directory, if need be, and point the settings at it."""
    from rbkeras.data.simulation import simulate_survey

    survey, records = config.out / "survey", config.out / "records"
    settings = {**asdict(config.simulation), "seed": config.seed, "rbkeras": __version__}
    marker = config.out / "simulation.json"
    tests = {name: survey / "test" / f"{name}.npy" for name in ("real", "bogus")}
    products = [survey, records, records / MANIFEST, *tests.values()]
    with alone(survey):
        # What an interrupted command of ours has left may be replaced; a survey of others may not.
        if not marker.exists() and not config.overwrite:
            for folder in (survey, records):
                _require_nothing(folder)
        if not claim(marker, settings, products=products, overwrite=config.overwrite):
            print(f"{survey}: no --data given, simulating a survey")
            own = asdict(config.simulation) | {"seed": config.seed}
            simulate_survey(survey, **own, overwrite=True)
            convert_survey(survey / "raw", records, overwrite=True)
            mark_finished(marker, settings)
    return replace(
        config,
        data=records,
        test_real=config.test_real or tests["real"],
        test_bogus=config.test_bogus or tests["bogus"],
    )


def _require_nothing(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"{folder}: expected nothing there, since no --data was given and a survey would be "
            "simulated, found files; name --data or another --out, or pass --overwrite"
        )
