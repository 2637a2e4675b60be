"""Escape foreign text for the place that shows it: terminal, log line, CSV, Markdown, Slack, Terraform.

Names, tags, reasons and error texts come from AWS, files, queues and shells, so any of them may hold characters that the place acts
on. Each function returns text that is only ever shown. Escapes stay visible (`\\x1b`): a reader sees that a name is hostile.
"""

from __future__ import annotations

import json
import logging
import re
import unicodedata

# Any ASCII punctuation mark may be escaped by a backslash (CommonMark 0.31, 2.4): these begin a construct anywhere, and those at the
# begin of a text (a heading, a list, a rule). A bare address still becomes a link in GitHub's dialect, but shows where it leads.
_MARKDOWN = re.compile(r"[\\`*_\[\]<>|~&]")
_MARKDOWN_BLOCK = re.compile(r"^(\d*)([-+#=.)]+)(?=\s|$)")
_SLACK = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# What a spreadsheet takes for the begin of a formula (CWE-1236; ASVS 1.2.10; OWASP, CSV Injection), also in full width.
_FORMULA = re.compile(r"(^|;)(?=[\s\"']*[=+\-@＝＋－＠])")


def line(text: object) -> str:
    """`text` as one line without anything that a terminal, a log or a page acts on.

    Control characters (line ends, ESC, C1), invisible and bidirectional format characters, line separators, lone surrogates and
    unassigned characters become backslash escapes.
    """
    text = str(text)
    return text if text.isprintable() else "".join(char if _harmless(char) else ascii(char)[1:-1] for char in text)


def lines(text: object) -> str:
    """Text of several lines, each as `line` gives it. Only for text whose line ends are of our own making."""
    return "\n".join(line(each) for each in str(text).split("\n"))


class _LogArguments(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(each if isinstance(each, (int, float)) else line(each) for each in record.args)
        return True


def logger(name: str) -> logging.Logger:
    """The logger called `name`, whose arguments cannot begin a line that looks like another entry."""
    found = logging.getLogger(name)
    if not any(isinstance(each, _LogArguments) for each in found.filters):
        found.addFilter(_LogArguments())
    return found


def _harmless(char: str) -> bool:
    category = unicodedata.category(char)
    return category[0] != "C" and category not in ("Zl", "Zp")


def markdown(text: object) -> str:
    """`text` inside a line, a list item or a table cell of Markdown: no link, image, markup, HTML or second cell."""
    return _MARKDOWN_BLOCK.sub(r"\1\\\2", _MARKDOWN.sub(r"\\\g<0>", line(text).strip()))


def slack(text: object, limit: int) -> str:
    """`text` (of several lines) for a mrkdwn field of at most `limit` characters: no mention, no link, never half an entity.

    Slack asks for these three entities: https://docs.slack.dev/messaging/formatting-message-text#escaping.
    """
    escaped = "".join(_SLACK.get(char, char) for char in lines(text))
    return escaped if len(escaped) <= limit else re.sub(r"&[a-z]*$", "", escaped[: limit - 1]) + "…"


def hcl(text: object) -> str:
    """`text` as a quoted string of Terraform's language, in which `${` and `%{` begin a template."""
    return json.dumps(str(text)).replace("${", "$${").replace("%{", "%%{")


def csv_cell(text: object) -> str:
    """`text` as a cell that no spreadsheet evaluates: an apostrophe stands before what begins a formula.

    Line ends and tabs are escaped, because a reader may end a row or a cell there, whatever the quotes say: Python before 3.11.9 does
    not quote a bare CR (CPython gh-67044). A semicolon ends a cell in the locales whose decimal mark is the comma.
    """
    return _FORMULA.sub(r"\1'", line(text))
