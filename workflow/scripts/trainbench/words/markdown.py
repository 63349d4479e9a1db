"""Shows any text literally in Markdown, and rows as a table."""

import html
import re
from collections.abc import Iterable, Sequence

from tabulate import tabulate


def literal(text: str) -> str:
    """`text` so that Markdown, in a table too, shows it as it is."""
    escaped = re.sub(r"([\\`*\[\]|#~$])", r"\\\1", html.escape(text.replace("\n", " "), quote=False))
    # Between letters or digits an underscore is literal already, and reads better bare.
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", escaped)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], alignment: Sequence[str] | None = None) -> str:
    """A table of texts that are Markdown already."""
    # Text as it is: tabulate would read a device called 1e5 as a number.
    return tabulate(list(rows), header, tablefmt="pipe", disable_numparse=True, colalign=alignment)


def bullets(texts: Iterable[str]) -> str:
    """A list of texts, shown literally."""
    return "\n".join(f"- {literal(text)}" for text in texts)
