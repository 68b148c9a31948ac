"""One quote snapshot: which of the requested fields are there, and which are missing. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.calls.parameters import list_values
from ibkr_bridge.ibkr.bodies import parse_rows

INSTRUMENT = re.compile(r"\d{1,12}(@[A-Za-z0-9.:]{1,20})?", re.ASCII)  # 265598, 265598@SMART: also allowed in a header
FIELD = re.compile(r"\d{1,6}", re.ASCII)
MAX_HEADER_BYTES = 4000  # bytes of the header; common clients accept 8000 to 16000 bytes of headers in all


@dataclass(frozen=True)
class SnapshotGaps:
    """The missing fields of one response, by instrument as it was requested."""

    missing: Mapping[str, tuple[str, ...]]
    requested: int
    """Fields."""

    @property
    def empty_instruments(self) -> list[str]:
        """The instruments without a single field."""
        return [conid for conid, fields in self.missing.items() if len(fields) == self.requested]

    @property
    def as_header(self) -> str:
        """For a header: `265598:7308,7309;8314`, an instrument alone if it has no field; `;+3` for those left out."""
        parts: list[str] = []
        size = 0
        for conid, fields in self.missing.items():
            part = conid if len(fields) == self.requested else f"{conid}:{','.join(fields)}"
            size += len(part) + 1
            if size > MAX_HEADER_BYTES:
                return ";".join([*parts, f"+{len(self.missing) - len(parts)}"])
            parts.append(part)
        return ";".join(parts)


def find_gaps(call: Call, response: Response) -> SnapshotGaps | None:
    """The missing fields of a snapshot; None if the response is not a list of rows."""
    rows = parse_rows(response.body) if response.status == 200 and response.body_stream is None else None
    if rows is None:
        return None
    rows_by_conid = {str(row.get("conid")): row for row in rows} | {str(row.get("conidEx")): row for row in rows}
    fields = tuple(dict.fromkeys(filter(FIELD.fullmatch, list_values(call, "fields"))))
    missing = {}
    for conid in filter(INSTRUMENT.fullmatch, list_values(call, "conids")):
        row = rows_by_conid.get(conid) or rows_by_conid.get(conid.partition("@")[0]) or {}
        if absent := tuple(field for field in fields if field not in row):
            missing[conid] = absent
    return SnapshotGaps(missing, len(fields))
