"""Self-contained HTML pages: templates that escape what they are given, pictures as addresses."""

import base64

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template


def page_template(package: str, name: str, *, folder: str = "templates") -> Template:
    """Load a template of a package; it may extend `page.html`, the look that pages share."""
    own, shared = PackageLoader(package, folder), PackageLoader("rbkeras")
    environment = Environment(
        loader=ChoiceLoader([own, shared]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def png_address(png: bytes) -> str:
    """Turn a PNG file's bytes into a `data:` address."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
