"""The log of a serving process: lines of text, or of JSON for programs."""

from __future__ import annotations

import json
import logging
import sys
import time

__all__ = ["start_logging"]

_DATE = "%Y-%m-%dT%H:%M:%S"


def start_logging(*, json: bool = False) -> None:
    """Write what the process logs to its standard error, times in UTC.

    Parameters:
        json: an object a line: ``time``, ``level``, ``logger``, ``message``, the fields of an answer
            (`fieldwave.serving.answered`), and ``error`` with a traceback.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json(datefmt=_DATE) if json else _Text("%(asctime)s %(name)s: %(message)s", _DATE + "Z"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


class _Text(logging.Formatter):
    converter = staticmethod(time.gmtime)


class _Json(_Text):
    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        line = {
            "time": f"{self.formatTime(record, self.datefmt)}.{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            **(fields or {"message": record.getMessage()}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)
