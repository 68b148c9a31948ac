"""One snapshot of quotes: which of the fields that were asked for are there, and which are missing. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ibkr_bridge.calls.messages import Answer, Call
from ibkr_bridge.calls.parameters import listed
from ibkr_bridge.ibkr.bodies import as_rows

INSTRUMENT = re.compile(r"\d{1,12}(@[A-Za-z0-9.:]{1,20})?", re.ASCII)  # 265598, 265598@SMART: fit for a header too
FIELD = re.compile(r"\d{1,6}", re.ASCII)
LONGEST = 4000  # bytes of the note; common clients take 8 to 16 thousand of headers in all


@dataclass(frozen=True)
class Look:
    """What one answer lacks: by instrument, as it was asked for, its fields."""

    missing: Mapping[str, tuple[str, ...]]
    asked: int
    """Fields."""

    @property
    def empty(self) -> list[str]:
        """The instruments without a single field."""
        return [conid for conid, fields in self.missing.items() if len(fields) == self.asked]

    @property
    def note(self) -> str:
        """For a header: `265598:7308,7309;8314`, an instrument alone where it has no field; `;+3` for those beyond."""
        parts: list[str] = []
        size = 0
        for conid, fields in self.missing.items():
            part = conid if len(fields) == self.asked else f"{conid}:{','.join(fields)}"
            size += len(part) + 1
            if size > LONGEST:
                return ";".join([*parts, f"+{len(self.missing) - len(parts)}"])
            parts.append(part)
        return ";".join(parts)


def look(call: Call, answer: Answer) -> Look | None:
    """What a snapshot lacks; None where the answer is no list of rows."""
    rows = as_rows(answer.body) if answer.status == 200 and answer.rest is None else None
    if rows is None:
        return None
    known = {str(row.get("conid")): row for row in rows} | {str(row.get("conidEx")): row for row in rows}
    fields = tuple(dict.fromkeys(filter(FIELD.fullmatch, listed(call, "fields"))))
    missing = {}
    for conid in filter(INSTRUMENT.fullmatch, listed(call, "conids")):
        row = known.get(conid) or known.get(conid.partition("@")[0]) or {}
        if absent := tuple(field for field in fields if field not in row):
            missing[conid] = absent
    return Look(missing, len(fields))
