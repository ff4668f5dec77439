"""Text normalisation (NFC), and the characters that are refused in every text."""

import re
import unicodedata
from typing import Final

# Control characters (Cc) and lone surrogates (Cs).
NOT_TEXT: Final = re.compile(r"[\x00-\x1F\x7F-\x9F\uD800-\uDFFF]")


def plain_text(text: str) -> str:
    """Return a text in Unicode's composed form (NFC). Raises: ValueError for control characters and lone surrogates."""
    if NOT_TEXT.search(text):
        message = "not plain text"
        raise ValueError(message)
    return unicodedata.normalize("NFC", text)
