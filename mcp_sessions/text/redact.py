"""Replaces known kinds of credentials in a text with a mark such as `[redacted: github token]`."""

import re
from typing import NamedTuple


class _TokenShape(NamedTuple):
    """A credential with a fixed prefix (one of `hints`), at least `minimum` characters long with it.

    `body` matches the characters after the prefix.
    """

    kind: str
    body: re.Pattern[str]
    minimum: int
    hints: tuple[str, ...]

    def span(self, text: str, at: int, hint: str) -> tuple[int, int]:
        match = None if _continues_word(text, at) else self.body.match(text, at + len(hint))
        return (at, match.end()) if match and match.end() - match.start() >= self.minimum else (at, at)


class _LabelShape(NamedTuple):
    """A credential that is recognized by the text around it. `pattern` begins at a hint; group 1 is the credential."""

    kind: str
    pattern: re.Pattern[str]
    hints: tuple[str, ...]

    def span(self, text: str, at: int, hint: str) -> tuple[int, int]:
        match = self.pattern.match(text, at)
        return match.span(1) if match else (at, at)


# Patterns are tried at their hints only, and are possessive or bounded, so that redacting takes linear time.
# No pattern matches a mark, and no token ends between letters or digits, so that redacting twice changes nothing.
_CODE = re.compile(r"[A-Za-z0-9]++")
_WORD = re.compile(r"[A-Za-z0-9_-]++")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]++={0,2}")
_AWS_ID = re.compile(r"[A-Z0-9]{16}(?![A-Za-z0-9])")
_SENDGRID = re.compile(r"[\w-]{20,32}+\.[\w-]{32,}+", re.ASCII)
# Header, payload and signature, or the five parts of an encrypted one.
_JWT = re.compile(r"[\w-]{17,512}+\.[\w-]*+\.[\w-]*+(?:\.[\w-]++\.[\w-]++)?", re.ASCII)

_TOKENS = (
    _TokenShape("anthropic key", _WORD, 20, ("sk-ant-",)),
    _TokenShape("openrouter key", _CODE, 32, ("sk-or-v1-",)),
    _TokenShape("langfuse key", _WORD, 36, ("sk-lf-",)),
    _TokenShape("openai key", _WORD, 20, ("sk-proj-", "sk-svcacct-", "sk-admin-", "sk-None-")),
    _TokenShape("openai key", _CODE, 20, ("sk-",)),
    _TokenShape("google api key", _WORD, 35, ("AIza",)),
    _TokenShape("google oauth token", _WORD, 20, ("ya29.", "GOCSPX-")),
    _TokenShape("google oauth token", _WORD, 40, ("1//0",)),
    _TokenShape("aws access key", _AWS_ID, 16, ("AKIA", "ASIA", "ABIA", "ACCA")),
    _TokenShape("aws session token", _BASE64, 100, ("IQoJb3JpZ2lu", "FwoGZXIvYXdz")),
    _TokenShape("github token", _CODE, 36, ("ghp_", "gho_", "ghu_", "ghs_", "ghr_")),
    _TokenShape("github token", _WORD, 36, ("github_pat_",)),
    _TokenShape("gitlab token", _WORD, 20, ("glpat-", "gldt-", "glrt-", "glptt-", "glcbt-", "glft-", "glimt-")),
    _TokenShape("gitlab token", _WORD, 20, ("glagent-", "gloas-", "glsoat-", "glffct-", "GR1348941")),
    _TokenShape("bitbucket token", _CODE, 28, ("ATBB",)),
    _TokenShape("atlassian token", _WORD, 60, ("ATATT3", "ATCTT3")),
    _TokenShape("npm token", _CODE, 36, ("npm_",)),
    _TokenShape("pypi token", _WORD, 50, ("pypi-AgE",)),
    _TokenShape("docker token", _WORD, 20, ("dckr_pat_", "dckr_oat_")),
    _TokenShape(
        "slack token",
        _WORD,
        10,
        ("xoxa-", "xoxb-", "xoxc-", "xoxd-", "xoxe-", "xoxo-", "xoxp-", "xoxr-", "xoxs-"),
    ),
    _TokenShape("slack token", _WORD, 20, ("xapp-1-", "xoxe.xoxb-", "xoxe.xoxp-")),
    _TokenShape("stripe key", _CODE, 16, ("sk_live_", "sk_test_", "rk_live_", "rk_test_")),
    _TokenShape("webhook secret", _BASE64, 24, ("whsec_",)),
    _TokenShape("sendgrid key", _SENDGRID, 53, ("SG.",)),
    _TokenShape("hugging face token", _CODE, 30, ("hf_", "api_org_")),
    _TokenShape("groq key", _CODE, 40, ("gsk_",)),
    _TokenShape("xai key", _CODE, 40, ("xai-",)),
    _TokenShape("perplexity key", _CODE, 40, ("pplx-",)),
    _TokenShape("replicate token", _CODE, 30, ("r8_",)),
    _TokenShape("nvidia key", _WORD, 50, ("nvapi-",)),
    _TokenShape("langsmith key", _WORD, 32, ("lsv2_pt_", "lsv2_sk_")),
    _TokenShape("databricks token", _CODE, 32, ("dapi",)),
    _TokenShape("digitalocean token", _CODE, 40, ("dop_v1_", "doo_v1_", "dor_v1_")),
    _TokenShape("vault token", _WORD, 24, ("hvs.", "hvb.")),
    _TokenShape("age key", _CODE, 50, ("AGE-SECRET-KEY-",)),
    _TokenShape("grafana token", _WORD, 40, ("glsa_", "glc_eyJ")),
    _TokenShape("sentry token", _BASE64, 40, ("sntrys_", "sntryu_")),
    _TokenShape("shopify token", _CODE, 32, ("shpat_", "shpca_", "shppa_", "shpss_")),
    _TokenShape("supabase key", _WORD, 30, ("sbp_", "sb_secret_")),
    _TokenShape("linear key", _CODE, 32, ("lin_api_",)),
    _TokenShape("notion token", _CODE, 40, ("ntn_",)),
    _TokenShape("guayaba key", _CODE, 48, ("g_master_", "g_agent_")),
    _TokenShape("agentos token", _WORD, 20, ("agno_pat_",)),
    _TokenShape("jwt", _JWT, 28, ("eyJ",)),
)

# These are searched for in the whole text: their hints are too short or too common for the search in long words.
# No group is possessive: Python before 3.11.5 matches some of them wrongly (cpython issue 106052).
_PRIVATE_KEY = _LabelShape(
    "private key",
    re.compile(
        r"(-----BEGIN[ A-Z0-9%+]{1,40}?PRIVATE[ %20+]{1,3}KEY[BLOCK %20+]{0,8}-----(?:"
        # Up to the end line, but not a text that only mentions both lines or has dots instead of a key.
        r"(?=(?:[^-]|-(?!----)){0,400}?[A-Za-z0-9+/]{16})"
        r"[^-]*+(?:-(?!----)[^-]*+)*-----END[ A-Z0-9%+]{1,40}?KEY[BLOCK %20+]{0,8}-----"
        # Or, without an end line, as far as it looks like a key.
        r"|(?:GAP*[A-Z][A-Za-z-]{2,20}: [^\n\\]{1,100}+){0,4}GAP*[A-Za-z0-9+/]{32,}+={0,2}"
        r"(?:GAP+[A-Za-z0-9+/]{16,}+={0,2})*"
        r"))".replace("GAP", r"(?:[\s>|\"'`]|\\[nrt])")
    ),
    ("-----BEGIN",),
)
_PASSWORD = _LabelShape(
    "password",
    re.compile(
        r":\\?/\\?/[^\s:/@\[\"'`<>\\]{0,128}+:"
        r"(?!\$[A-Z_]+@|\$[({]|\{|%[(s]|\*+@|\.{3}|[xX]{3,}@|\[[A-Za-z_-]+\]@)"
        # A password may contain an `@`, but must not begin in one address and end in another.
        r"([^\s/@\"'`<>\\]{1,200}+(?:@[^\s/@?#,\"'`<>\\]{1,100}+){0,2})"
        # `docker://image:tag@sha256:…` has no password.
        r"@(?=[\w\[.%${/-])(?!sha\d)",
        re.ASCII,
    ),
    ("://", r":\/\/"),
)
# Without brackets, since a mark or a placeholder may follow.
_GAP = r"(?:[^\w\n\[<{$]|%[0-9A-Fa-f]{2}){1,8}"
# A token has a digit within its first characters or is a long run of letters, unlike a word in prose or a name in code.
_OPAQUE = r"(?=[\w~+/=.-]{0,80}?\d|[A-Za-z]{20,200}+(?![(\w~+/.-]))((?:\w{1,8}\.){0,2}[\w~+/=-]{8,}+(?:\.[\w~+/=-]++)*)"
_BASE64_OF_PAIR = r"((?:[\w+/-]{4}){2,200}(?:[\w+/-]{2}==|[\w+/-]{3}=)?)(?![\w+/=-])"
_AUTHORIZATION = (
    _LabelShape(
        "bearer token",
        re.compile(rf"(?i:uthorization){_GAP}(?i:bearer|token|bot|(?:api-?)?key){_GAP}{_OPAQUE}", re.ASCII),
        ("uthorization", "UTHORIZATION"),
    ),
    _LabelShape(
        "basic auth",
        re.compile(rf"(?i:uthorization){_GAP}(?i:basic){_GAP}{_BASE64_OF_PAIR}", re.ASCII),
        ("uthorization", "UTHORIZATION"),
    ),
)
_LABELS = (
    _LabelShape(
        "secret key",
        re.compile(
            r"(?i:ecret(?:[ _-]?access)?(?:[ _-]?key)?)[\"'`\\]{0,2}"
            r"\s{0,4}(?:[:=>]{1,2}|%3[AaDd]|is\b)\s{0,4}[\"'`\\]{0,3}([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])"
        ),
        ("ecret", "ECRET"),
    ),
    _LabelShape(
        "azure key", re.compile(r"\w{7,12}Key=([A-Za-z0-9+/%]{40,}+={0,2})"), ("AccountKey=", "SharedAccessKey=")
    ),
    _LabelShape("azure signature", re.compile(r"sig=(?<=[?&;]sig=)([A-Za-z0-9+/%]{40,}+={0,2})"), ("sig=",)),
    _LabelShape(
        "slack webhook",
        re.compile(r"hooks\.slack\.com/\w{4,12}/([\w/-]{24,}+)", re.ASCII),
        ("hooks.slack.com/",),
    ),
    _LabelShape("discord webhook", re.compile(r"/api/webhooks/\d{8,25}/([\w-]{40,}+)", re.ASCII), ("/api/webhooks/",)),
    _LabelShape(
        "discord token",
        re.compile(r"(?i:iscord)[^\n\]]{0,40}?(?<![\w.-])([MNO][\w-]{22,27}\.[\w-]{6}\.[\w-]{27,}+)", re.ASCII),
        ("iscord", "ISCORD"),
    ),
    _LabelShape("telegram token", re.compile(r":(?<=\d{8}:)(AA[\w-]{33})(?![\w-])", re.ASCII), (":AA",)),
    _LabelShape(
        "twilio token",
        re.compile(r"(?i:wilio)[^\n\]]{0,40}?(?<![A-Za-z0-9])((?:SK)?[0-9a-f]{32})(?![A-Za-z0-9])"),
        ("wilio", "WILIO"),
    ),
    _LabelShape(
        "bearer token",
        re.compile(rf"(?i:earer){_GAP}(?=(?:\w{{1,8}}\.){{0,2}}[\w+/-]{{20}}){_OPAQUE}", re.ASCII),
        ("earer", "EARER"),
    ),
)

_ESCAPE = re.compile(r"(?:\\[bfnrtv]|\\x[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|%(?:25){0,2}[0-9A-Fa-f]{2})\Z")

# Every credential of `_TOKENS` and `_LABELS` contains a run of at least 20 characters of the class `_SHAPE`. The hint
# begins at most 8 characters before the run for a token, and 48 for a label. The longest hint has 16 characters.
_LONG, _PREFIX, _REACH, _HINT = 20, 8, 48, 16
_SHAPE = bytes(0x61 if (chr(byte).isalnum() and byte < 0x80) or byte in b"%+-/_" else 0x20 for byte in range(256))


def redact(text: str) -> str:
    """Return the text with `[redacted: KIND]` for each known credential. Redacting twice changes nothing."""
    text = _mark(text, _PRIVATE_KEY, text)
    if "@" in text:
        text = _mark(text, _PASSWORD, text)
    words, surroundings = _long_words(text)
    if words:
        for shape in _TOKENS:
            text = _mark(text, shape, words)
        for shape in _LABELS:
            text = _mark(text, shape, surroundings)
    for shape in _AUTHORIZATION:
        text = _mark(text, shape, text)
    return text


def _long_words(text: str) -> tuple[str, str]:
    """Return the long words of a text, and the same words with the text before them.

    Most texts have few long words, so that searching only them is fast.
    """
    data = text.encode("ascii", "replace")
    shape = data.translate(_SHAPE) + b" "
    words: list[bytes] = []
    surroundings: list[bytes] = []
    long, end = b"a" * _LONG, 0
    while (start := shape.find(long, end)) >= 0:
        # A hint may begin at the end of the previous long word.
        before, end = max(0, end - _HINT), shape.index(b" ", start)
        words.append(data[max(before, start - _PREFIX) : end])
        surroundings.append(data[max(before, start - _REACH) : end])
    return b" ".join(words).decode(), b" ".join(surroundings).decode()


def _mark(text: str, shape: _TokenShape | _LabelShape, where: str) -> str:
    for hint in shape.hints:
        if hint in where:
            text = _mark_hint(text, shape, hint)
    return text


def _mark_hint(text: str, shape: _TokenShape | _LabelShape, hint: str) -> str:
    parts: list[str] = []
    done, at = 0, text.find(hint)
    while at >= 0:
        start, end = shape.span(text, at, hint)
        if start < end:
            parts.append(f"{text[done:start]}[redacted: {shape.kind}]")
            done = end
        at = text.find(hint, max(end, at + 1))
    return "".join(parts) + text[done:]


def _continues_word(text: str, at: int) -> bool:
    r"""Return whether a letter or digit precedes `at`, unless it ends an escape, as in `\nghp_…` or `%3Dghp_…`."""
    before = text[at - 1 : at]
    return before.isascii() and before.isalnum() and not _ESCAPE.search(text, max(0, at - 8), at)
