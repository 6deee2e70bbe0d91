"""What text looks like that must not leave: secrets, and what identifies people.

Secrets (userinfo in a URI, bearer tokens, cloud keys, private keys) are masked wherever they stand,
in names too. Card numbers, account numbers and e-mail addresses are masked in all but names, since
two datasets would become one; the numbers count only where their check digits are right.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

MASK = "***"

_ASSIGNED = (
    r"(?:password|passwd|passphrase|pwd|secret|api[_-]?key|access[_-]?key|account[_-]?key|"
    r"private[_-]?key|(?:access|auth|refresh|session|id|sas|api)[_-]?token)"
)
_SIGNED = r"[?&](?:sig|signature|x-amz-signature|x-amz-security-token|token|key)="
_KEY_PREFIXES = (
    r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b"  # AWS access key id
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{20,}"
    r"|\bxox[abeoprs]-[\w-]{10,}|\bAIza[\w-]{35}"  # Slack, Google
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"  # JSON web token
)


class _Pattern(NamedTuple):
    expression: re.Pattern[str]
    replacement: str


_PATTERNS = (
    _Pattern(
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
            re.DOTALL,
        ),
        MASK,
    ),
    _Pattern(
        # abfss://container@account and wasbs:// are how Azure names data: no userinfo there.
        re.compile(r"(?<![\w+.-])((?!(?:abfss?|wasbs?):)[A-Za-z][\w+.-]*://)[^\s/?#\"'<>]+@"),
        rf"\1{MASK}@",
    ),
    _Pattern(re.compile(r"\b(bearer)\s+[\w.~+/-]{8,}=*", re.IGNORECASE), rf"\1 {MASK}"),
    _Pattern(
        re.compile(
            r"(authorization[\"']?\s*[:=]\s*[\"']?(?:basic|digest|token)\s+)[^\s\"',}]+",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    _Pattern(re.compile(_KEY_PREFIXES), MASK),
    _Pattern(
        # name=value in a connection string, a command line, a query string or quoted code
        re.compile(
            rf"({_ASSIGNED}[\"']?\s*[=:]\s*)(?:\"[^\"]*\"|'[^']*'|[^\s\"'&;,)}}\]]+)",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    # an option of a command line
    _Pattern(
        re.compile(rf"(\s--(?:[\w-]*-)?(?:{_ASSIGNED}|token)\s+)[^\s\"'-][^\s\"']*", re.IGNORECASE),
        rf"\1{MASK}",
    ),
    _Pattern(re.compile(rf"({_SIGNED})[^&\s\"']+", re.IGNORECASE), rf"\1{MASK}"),
)
# A text without any of these, in lower case, cannot match a pattern: most texts are done with that.
_HINTS = (
    "@",
    "key",
    "token",
    "pass",
    "secret",
    "sig",
    "gh",
    "pwd",
    "bearer",
    "authorization",
    "akia",
    "asia",
    "abia",
    "acca",
    "glpat-",
    "xox",
    "aiza",
    "eyj",
    "-----begin",
)
_USERINFO_LEFT = re.compile(r"://\*\*\*@")

# git@host is how repositories are named; behind :// stands userinfo, or a container of Azure's.
_MAIL = re.compile(
    r"(?<![\w.+%-])(?<!://)(?!(?:git|hg)@)[A-Za-z0-9][\w.+%-]*@(?:[\w-]+\.)+[A-Za-z]{2,}(?![\w-])"
)
_MIN_NUMBER_CHARS = 13
_MAYBE_NUMBER = re.compile(r"\d\d(?:[ -]?[0-9A-Z]){9}")
# As they are printed on cards, or in one piece; a time in milliseconds begins with 1.
_CARD = re.compile(
    r"(?<![A-Za-z0-9.])(?:[2-6]\d{12,18}|[2-6]\d{3}([ -])\d{4}\1\d{4}\1\d{4}"
    r"|3\d{3}([ -])\d{6}\2\d{4,5})"
    r"(?![A-Za-z0-9])"
)
_IBAN = re.compile(r"\b[A-Z]{2}\d\d(?: ?[A-Z0-9]){11,30}\b")


def without_secrets(text: str, *, is_identity: bool = False, keeps_mail: bool = False) -> str:
    """Return the text with what looks like a secret, or identifies people, masked.

    Args:
        text: any text.
        is_identity: whether it names a job, a run or a dataset: then it names no people.
        keeps_mail: whether it says on purpose who is responsible.
    """
    lower = text.lower()
    for hint in _HINTS:
        if hint in lower:
            text = _without_hinted(text, is_identity, is_identity or keeps_mail)
            break
    if is_identity or len(text) < _MIN_NUMBER_CHARS or _MAYBE_NUMBER.search(text) is None:
        return text
    return _IBAN.sub(_masked_iban, _CARD.sub(_masked_card, text))


def hints_in(text: str, hints: Sequence[str] = _HINTS) -> list[str]:
    """Return what of these a name holds: one without any stays as it is."""
    lower = text.lower()
    return [hint for hint in hints if hint in lower]


def is_card_number(number: int) -> bool:
    """Whether these are the digits of a payment card.

    >>> is_card_number(4111111111111111), is_card_number(4111111111111112)
    (True, False)
    """
    text = str(number)
    return _CARD.fullmatch(text) is not None and _is_luhn(text)


def _without_hinted(text: str, is_identity: bool, keeps_mail: bool) -> str:
    for expression, replacement in _PATTERNS:
        text = expression.sub(replacement, text)
    if not keeps_mail and "@" in text:
        text = _MAIL.sub(MASK, text)
    if is_identity:
        # Gone, not masked: others name the same dataset without userinfo.
        text = _USERINFO_LEFT.sub("://", text)
    return text


def _masked_card(match: re.Match[str]) -> str:
    return MASK if _is_luhn(match.group()) else match.group()


def _is_luhn(text: str) -> bool:
    digits = [int(one) for one in reversed(text) if one.isdigit()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _masked_iban(match: re.Match[str]) -> str:
    """Mask an account number; words in capitals behind it may look like a part of it."""
    text = match.group()
    end = len(text)
    while end:
        number = text[:end].replace(" ", "")
        moved = number[4:] + number[:4]
        if len(number) < 15:
            break
        if int("".join(str(int(one, 36)) for one in moved)) % 97 == 1:
            return MASK + text[end:]
        end = text.rfind(" ", 0, end)
        if end < 0:
            break
    return text
