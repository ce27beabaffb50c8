"""The few fields of a certificate that a check needs, from its DER: the standard library reads no certificate that it
does not trust.

The forms are those of RFC 5280, section 4.1; X.690 says how they are encoded: tag, length, content."""

import ssl
from datetime import UTC, datetime
from ipaddress import ip_address

from oncall.model import Frozen

_SEQUENCE, _SET, _OID, _OCTETS = 0x30, 0x31, 0x06, 0x04
_UTC_TIME, _LONG_TIME = 0x17, 0x18
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_DNS, _IP = 0x82, 0x87
_COMMON_NAME, _ORGANISATION, _ALTERNATIVE_NAMES = b"\x55\x04\x03", b"\x55\x04\x0a", b"\x55\x1d\x11"
_CODECS = {0x14: "latin-1", 0x1C: "utf-32-be", 0x1E: "utf-16-be"}
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_MOST_NAMES = 100


class Certificate(Frozen, frozen=True):
    """Who it is for, who issued it, and from when to when it holds (Unix seconds)."""

    subject: str
    issuer: str
    begins: float
    ends: float
    names: tuple[str, ...]
    """DNS names and addresses that it is for."""


def from_pem(text: str) -> tuple[Certificate, ...]:
    """Every certificate of a PEM file, in its order; keys and words beside them are passed over.

    Raises ValueError for one that is broken."""
    parts = text.split(_BEGIN)[1:]
    if any(_END not in part for part in parts):
        raise ValueError("a certificate has no end")
    return tuple(
        from_der(ssl.PEM_cert_to_DER_cert(f"{_BEGIN}{part.partition(_END)[0]}{_END}")) for part in parts
    )


def from_der(data: bytes) -> Certificate:
    """Raises ValueError for what is no certificate."""
    try:
        return _certificate(data)
    except (IndexError, OverflowError, UnicodeError) as broken:
        raise ValueError(f"not a certificate: {broken}") from broken


def _certificate(data: bytes) -> Certificate:
    fields = _parts(_parts(_only(data, _SEQUENCE))[0][1])
    if fields[0][0] == _VERSION:
        fields = fields[1:]
    # After the serial number and the algorithm
    issuer, validity, subject = (content for _, content in fields[2:5])
    begins, ends = _parts(validity)[:2]
    names = next((_names(content) for tag, content in fields[5:] if tag == _EXTENSIONS), ())
    return Certificate(
        subject=_name(subject) or (names[0] if names else ""),
        issuer=_name(issuer),
        begins=_time(*begins),
        ends=_time(*ends),
        names=names,
    )


def _parts(data: bytes) -> list[tuple[int, bytes]]:
    """Tag and content of each value, one after the other."""
    found, at = [], 0
    while at < len(data):
        tag, length, at = data[at], data[at + 1], at + 2
        if length & 0x80:
            width = length & 0x7F
            length, at = int.from_bytes(data[at : at + width], "big"), at + width
        if at + length > len(data):
            raise ValueError("not a certificate: it is cut")
        found.append((tag, data[at : at + length]))
        at += length
    return found


def _only(data: bytes, tag: int) -> bytes:
    parts = _parts(data)
    if len(parts) != 1 or parts[0][0] != tag:
        raise ValueError("not a certificate")
    return parts[0][1]


def _name(data: bytes) -> str:
    """The common name, else the organisation."""
    found: dict[bytes, str] = {}
    for _, group in _parts(data):
        for _, pair in _parts(group):
            (_, key), (tag, value) = _parts(pair)[:2]
            found[key] = value.decode(_CODECS.get(tag, "utf-8"), "replace")
    return found.get(_COMMON_NAME) or found.get(_ORGANISATION) or ""


def _time(tag: int, content: bytes) -> float:
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != _LONG_TIME:
        raise ValueError("not a certificate: a time is expected")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _names(extensions: bytes) -> tuple[str, ...]:
    for _, extension in _parts(_only(extensions, _SEQUENCE)):
        fields = _parts(extension)
        if fields[0] == (_OID, _ALTERNATIVE_NAMES) and fields[-1][0] == _OCTETS:
            general = _parts(_only(fields[-1][1], _SEQUENCE))[:_MOST_NAMES]
            return tuple(_general(tag, content) for tag, content in general if tag in (_DNS, _IP))
    return ()


def _general(tag: int, content: bytes) -> str:
    return content.decode("ascii", "replace") if tag == _DNS else str(ip_address(content))
