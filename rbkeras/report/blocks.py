"""What a page is made of. Texts are plain: the template escapes them."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Text:
    """A paragraph; `quiet` ones say what is missing."""

    text: str
    quiet: bool = False
    kind: str = "text"


@dataclass(frozen=True)
class Figure:
    """A picture as a data URI, and a caption that says what one sees."""

    uri: str
    caption: str
    alt: str
    kind: str = "figure"


@dataclass(frozen=True)
class Figures:
    """Figures side by side."""

    figures: list[Figure]
    kind: str = "figures"


@dataclass(frozen=True)
class Table:
    """Cells are texts; the first column is left-aligned, the others right-aligned."""

    caption: str
    columns: list[str]
    rows: list[list[str]]
    kind: str = "table"


@dataclass(frozen=True)
class Card:
    """A stamp's picture with lines below it, or a number with its meaning."""

    title: str
    lines: list[str] = field(default_factory=list)
    uri: str = ""
    alt: str = ""


@dataclass(frozen=True)
class Headline:
    """The numbers at the top."""

    cards: list[Card]
    kind: str = "headline"


@dataclass(frozen=True)
class Gallery:
    """Stamps in rows."""

    caption: str
    cards: list[Card]
    kind: str = "gallery"


@dataclass(frozen=True)
class Settings:
    """Names and values in columns, grouped."""

    groups: dict[str, dict[str, str]]
    kind: str = "settings"


Block = Text | Figure | Figures | Table | Headline | Gallery | Settings


@dataclass(frozen=True)
class Section:
    """A titled part of the page; `anchor` is its id."""

    anchor: str
    title: str
    blocks: list[Block]


def missing(anchor: str, title: str, why: str) -> Section:
    """Return a section that only says why it has nothing to show."""
    return Section(anchor, title, [Text(why, quiet=True)])
