"""A server's clock against ours, from the Date of an answer."""

import time
from email.utils import parsedate_to_datetime

from oncall.clients.http import Fetched


def skew_of(got: Fetched) -> float | None:
    """Its clock minus ours in seconds, half a second either way; None where it tells no Date."""
    try:
        theirs = parsedate_to_datetime(got.headers.get("date", "")).timestamp()
    except ValueError:
        return None
    ours = time.time() - (time.monotonic() - got.headers_at)
    # Date is cut to the second
    return theirs + 0.5 - ours
