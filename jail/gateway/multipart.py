"""The text fields of multipart/form-data (RFC 7578). Files are passed over: the service has them on stdin."""

from __future__ import annotations

import asyncio
import logging

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from jail.gateway.problem import Problem
from jail.services.request import MAX_PARAMS

PIECE = 16 << 10
"""Bytes that are parsed at a time: a few milliseconds at worst, and other requests have their turn."""

logging.getLogger("python_multipart").addHandler(logging.NullHandler())  # it quotes the body


async def text_fields(content_type: str, body: bytes, whole: bool) -> list[tuple[str, str]]:
    """Names and values in their order; where `body` is not the whole of it, those before its first file.
    Raises Problem where it is not what its type says, has more than MAX_PARAMS parts, or where `body` ends
    before there was a file."""
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    fields = _Fields(whole)
    try:
        if not boundary:
            raise FormParserError("no boundary")
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": fields.begin,
                "on_header_field": fields.add_name,
                "on_header_value": fields.add_value,
                "on_header_end": fields.end_header,
                "on_headers_finished": fields.end_headers,
                "on_part_data": fields.add_data,
                "on_part_end": fields.end,
                "on_end": fields.end_all,
            },
        )
        for at in range(0, len(body), PIECE):
            parser.write(body[at : at + PIECE])
            if fields.over:
                break
            await asyncio.sleep(0)
        if whole and not fields.over:
            raise FormParserError("no last boundary")
    except FormParserError:
        raise Problem(400, "the body is not multipart/form-data, which its Content-Type says it is") from None
    if not fields.over:
        raise Problem(413, f"the form's text fields are larger than {len(body)} bytes")
    return fields.found


class _Fields:
    """What the parser tells, one part at a time."""

    def __init__(self, whole: bool) -> None:
        self.found: list[tuple[str, str]] = []
        self.over = False
        """What follows holds no fields that count."""
        self._whole = whole
        self._parts = 0
        self._clear()

    def _clear(self) -> None:
        self._name, self._disposition, self._is_text = "", "", False
        self._header, self._value, self._data = bytearray(), bytearray(), bytearray()

    def begin(self) -> None:
        self._clear()
        self._parts += 1
        if self._parts > MAX_PARAMS:
            raise Problem(413, f"more than {MAX_PARAMS} parts of a form")

    def add_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value.decode("latin-1")
        self._header, self._value = bytearray(), bytearray()

    def end_headers(self) -> None:
        kind, options = parse_options_header(self._disposition)
        if kind != b"form-data" or b"name" not in options:
            raise FormParserError("a part without a name")
        self._name = options[b"name"].decode("utf-8", "replace")
        is_file = b"filename" in options
        self.over = self.over or (is_file and not self._whole)
        self._is_text = not is_file and not self.over

    def add_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_text:
            self._data += data[start:end]

    def end(self) -> None:
        if self._is_text:
            self.found.append((self._name, self._data.decode("utf-8", "replace")))

    def end_all(self) -> None:
        self.over = True
