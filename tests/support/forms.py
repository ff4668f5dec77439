"""Content types of forms, and parts of a multipart body."""

URLENCODED = "application/x-www-form-urlencoded"

MULTIPART = "multipart/form-data; boundary=b"


def part(name: str, value: str | bytes, more: str = "") -> bytes:
    raw = value if isinstance(value, bytes) else value.encode()
    return f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + raw + b"\r\n"
