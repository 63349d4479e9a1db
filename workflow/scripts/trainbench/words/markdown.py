"""Shows any text literally in Markdown."""

import html
import re


def literal(text: str) -> str:
    """`text` so that Markdown, in a table too, shows it as it is."""
    escaped = re.sub(r"([\\`*\[\]|#~$])", r"\\\1", html.escape(text.replace("\n", " "), quote=False))
    # Between letters or digits an underscore is literal already, and reads better bare.
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", escaped)
