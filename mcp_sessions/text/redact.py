"""Known shapes of credentials, each shown as a mark that says what stood there."""

import re
from typing import NamedTuple


class _Token(NamedTuple):
    """A credential that its issuer marks: a hint, then at least `minimum` characters that fit `body`."""

    kind: str
    body: re.Pattern[str]
    minimum: int
    hints: tuple[str, ...]

    def span(self, text: str, at: int, hint: str) -> tuple[int, int]:
        match = None if _continues_word(text, at) else self.body.match(text, at + len(hint))
        return (at, match.end()) if match and match.end() - match.start() >= self.minimum else (at, at)


class _Labelled(NamedTuple):
    """A credential told by what stands around it: `pattern` begins at a hint, its group 1 is what to hide."""

    kind: str
    pattern: re.Pattern[str]
    hints: tuple[str, ...]

    def span(self, text: str, at: int, hint: str) -> tuple[int, int]:
        match = self.pattern.match(text, at)
        return match.span(1) if match else (at, at)


# A pattern is tried at its hints only, and is possessive or bounded there: no text takes more than linear
# time. No mark fits a pattern, and no token ends between letters or digits: nothing is marked twice.
_CODE = re.compile(r"[A-Za-z0-9]++")
_WORD = re.compile(r"[A-Za-z0-9_-]++")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]++={0,2}")
_AWS_ID = re.compile(r"[A-Z0-9]{16}(?![A-Za-z0-9])")
_SENDGRID = re.compile(r"[\w-]{20,32}+\.[\w-]{32,}+", re.ASCII)
# Header, payload and signature, or the five parts of an encrypted one.
_JWT = re.compile(r"[\w-]{17,512}+\.[\w-]*+\.[\w-]*+(?:\.[\w-]++\.[\w-]++)?", re.ASCII)

_TOKENS = (
    _Token("anthropic key", _WORD, 20, ("sk-ant-",)),
    _Token("openrouter key", _CODE, 32, ("sk-or-v1-",)),
    _Token("langfuse key", _WORD, 36, ("sk-lf-",)),
    _Token("openai key", _WORD, 20, ("sk-proj-", "sk-svcacct-", "sk-admin-", "sk-None-")),
    _Token("openai key", _CODE, 20, ("sk-",)),
    _Token("google api key", _WORD, 35, ("AIza",)),
    _Token("google oauth token", _WORD, 20, ("ya29.", "GOCSPX-")),
    _Token("google oauth token", _WORD, 40, ("1//0",)),
    _Token("aws access key", _AWS_ID, 16, ("AKIA", "ASIA", "ABIA", "ACCA")),
    _Token("aws session token", _BASE64, 100, ("IQoJb3JpZ2lu", "FwoGZXIvYXdz")),
    _Token("github token", _CODE, 36, ("ghp_", "gho_", "ghu_", "ghs_", "ghr_")),
    _Token("github token", _WORD, 36, ("github_pat_",)),
    _Token("gitlab token", _WORD, 20, ("glpat-", "gldt-", "glrt-", "glptt-", "glcbt-", "glft-", "glimt-")),
    _Token("gitlab token", _WORD, 20, ("glagent-", "gloas-", "glsoat-", "glffct-", "GR1348941")),
    _Token("bitbucket token", _CODE, 28, ("ATBB",)),
    _Token("atlassian token", _WORD, 60, ("ATATT3", "ATCTT3")),
    _Token("npm token", _CODE, 36, ("npm_",)),
    _Token("pypi token", _WORD, 50, ("pypi-AgE",)),
    _Token("docker token", _WORD, 20, ("dckr_pat_", "dckr_oat_")),
    _Token(
        "slack token",
        _WORD,
        10,
        ("xoxa-", "xoxb-", "xoxc-", "xoxd-", "xoxe-", "xoxo-", "xoxp-", "xoxr-", "xoxs-"),
    ),
    _Token("slack token", _WORD, 20, ("xapp-1-", "xoxe.xoxb-", "xoxe.xoxp-")),
    _Token("stripe key", _CODE, 16, ("sk_live_", "sk_test_", "rk_live_", "rk_test_")),
    _Token("webhook secret", _BASE64, 24, ("whsec_",)),
    _Token("sendgrid key", _SENDGRID, 53, ("SG.",)),
    _Token("hugging face token", _CODE, 30, ("hf_", "api_org_")),
    _Token("groq key", _CODE, 40, ("gsk_",)),
    _Token("xai key", _CODE, 40, ("xai-",)),
    _Token("perplexity key", _CODE, 40, ("pplx-",)),
    _Token("replicate token", _CODE, 30, ("r8_",)),
    _Token("nvidia key", _WORD, 50, ("nvapi-",)),
    _Token("langsmith key", _WORD, 32, ("lsv2_pt_", "lsv2_sk_")),
    _Token("databricks token", _CODE, 32, ("dapi",)),
    _Token("digitalocean token", _CODE, 40, ("dop_v1_", "doo_v1_", "dor_v1_")),
    _Token("vault token", _WORD, 24, ("hvs.", "hvb.")),
    _Token("age key", _CODE, 50, ("AGE-SECRET-KEY-",)),
    _Token("grafana token", _WORD, 40, ("glsa_", "glc_eyJ")),
    _Token("sentry token", _BASE64, 40, ("sntrys_", "sntryu_")),
    _Token("shopify token", _CODE, 32, ("shpat_", "shpca_", "shppa_", "shpss_")),
    _Token("supabase key", _WORD, 30, ("sbp_", "sb_secret_")),
    _Token("linear key", _CODE, 32, ("lin_api_",)),
    _Token("notion token", _CODE, 40, ("ntn_",)),
    _Token("guayaba key", _CODE, 48, ("g_master_", "g_agent_")),
    _Token("agentos token", _WORD, 20, ("agno_pat_",)),
    _Token("jwt", _JWT, 28, ("eyJ",)),
)

# Told apart by punctuation and case, so too short or too common to be among the long words.
_PRIVATE_KEY = _Labelled(
    "private key",
    re.compile(
        r"(-----BEGIN[ A-Z0-9%+]{1,40}?PRIVATE[ %20+]{1,3}KEY[BLOCK %20+]{0,8}-----(?:"
        # To its end line; but not what is only a mention of both lines, or has dots for a key.
        r"(?=(?:[^-]|-(?!----)){0,400}?[A-Za-z0-9+/]{16})"
        r"[^-]*+(?:-(?!----)[^-]*+)*+-----END[ A-Z0-9%+]{1,40}?KEY[BLOCK %20+]{0,8}-----"
        # Or, cut short, as far as it looks like one.
        r"|(?:GAP*+[A-Z][A-Za-z-]{2,20}: [^\n\\]{1,100}+){0,4}+GAP*+[A-Za-z0-9+/]{32,}+={0,2}"
        r"(?:GAP++[A-Za-z0-9+/]{16,}+={0,2})*+"
        r"))".replace("GAP", r"(?:[\s>|\"'`]|\\[nrt])")
    ),
    ("-----BEGIN",),
)
_PASSWORD = _Labelled(
    "password",
    re.compile(
        r":\\?/\\?/[^\s:/@\[\"'`<>\\]{0,128}+:"
        r"(?!\$[A-Z_]+@|\$[({]|\{|%[(s]|\*+@|\.{3}|[xX]{3,}@|\[[A-Za-z_-]+\]@)"
        # It may hold an `@`, but not so as to begin in one address and end in another.
        r"([^\s/@\"'`<>\\]{1,200}+(?:@[^\s/@?#,\"'`<>\\]{1,100}+){0,2})"
        # `docker://image:tag@sha256:…` has no password.
        r"@(?=[\w\[.%${/-])(?!sha\d)",
        re.ASCII,
    ),
    ("://", r":\/\/"),
)
# No brackets: what follows may be a mark or a placeholder.
_GAP = r"(?:[^\w\n\[<{$]|%[0-9A-Fa-f]{2}){1,8}"
# In prose a word follows, in code a name: a token has a digit soon, or is one long row of letters.
_OPAQUE = (
    r"(?=[\w~+/=.-]{0,80}?\d|[A-Za-z]{20,200}+(?![(\w~+/.-]))((?:\w{1,8}\.){0,2}[\w~+/=-]{8,}+(?:\.[\w~+/=-]++)*+)"
)
_BASE64_OF_PAIR = r"((?:[\w+/-]{4}){2,200}+(?:[\w+/-]{2}==|[\w+/-]{3}=)?)(?![\w+/=-])"
_AUTHORIZATION = (
    _Labelled(
        "bearer token",
        re.compile(rf"(?i:uthorization){_GAP}(?i:bearer|token|bot|(?:api-?)?key){_GAP}{_OPAQUE}", re.ASCII),
        ("uthorization", "UTHORIZATION"),
    ),
    _Labelled(
        "basic auth",
        re.compile(rf"(?i:uthorization){_GAP}(?i:basic){_GAP}{_BASE64_OF_PAIR}", re.ASCII),
        ("uthorization", "UTHORIZATION"),
    ),
)
_LABELLED = (
    _Labelled(
        "secret key",
        re.compile(
            r"(?i:ecret(?:[ _-]?access)?(?:[ _-]?key)?)[\"'`\\]{0,2}"
            r"\s{0,4}(?:[:=>]{1,2}|%3[AaDd]|is\b)\s{0,4}[\"'`\\]{0,3}([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])"
        ),
        ("ecret", "ECRET"),
    ),
    _Labelled(
        "azure key", re.compile(r"\w{7,12}Key=([A-Za-z0-9+/%]{40,}+={0,2})"), ("AccountKey=", "SharedAccessKey=")
    ),
    _Labelled("azure signature", re.compile(r"sig=(?<=[?&;]sig=)([A-Za-z0-9+/%]{40,}+={0,2})"), ("sig=",)),
    _Labelled(
        "slack webhook",
        re.compile(r"hooks\.slack\.com/\w{4,12}/([\w/-]{24,}+)", re.ASCII),
        ("hooks.slack.com/",),
    ),
    _Labelled("discord webhook", re.compile(r"/api/webhooks/\d{8,25}/([\w-]{40,}+)", re.ASCII), ("/api/webhooks/",)),
    _Labelled(
        "discord token",
        re.compile(r"(?i:iscord)[^\n\]]{0,40}?(?<![\w.-])([MNO][\w-]{22,27}\.[\w-]{6}\.[\w-]{27,}+)", re.ASCII),
        ("iscord", "ISCORD"),
    ),
    _Labelled("telegram token", re.compile(r":(?<=\d{8}:)(AA[\w-]{33})(?![\w-])", re.ASCII), (":AA",)),
    _Labelled(
        "twilio token",
        re.compile(r"(?i:wilio)[^\n\]]{0,40}?(?<![A-Za-z0-9])((?:SK)?[0-9a-f]{32})(?![A-Za-z0-9])"),
        ("wilio", "WILIO"),
    ),
    _Labelled(
        "bearer token",
        re.compile(rf"(?i:earer){_GAP}(?=(?:\w{{1,8}}\.){{0,2}}[\w+/-]{{20}}){_OPAQUE}", re.ASCII),
        ("earer", "EARER"),
    ),
)

_ESCAPE = re.compile(r"(?:\\[bfnrtv]|\\x[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|%(?:25){0,2}[0-9A-Fa-f]{2})\Z")

# Every credential of the tables holds a run of so many such characters. Its hint begins at most so far before
# the run: a token's, a label's. So long is the longest hint.
_LONG, _PREFIX, _REACH, _HINT = 20, 8, 48, 16
_SHAPE = bytes(0x61 if (chr(byte).isalnum() and byte < 0x80) or byte in b"%+-/_" else 0x20 for byte in range(256))


def redact(text: str) -> str:
    """`text` with each known credential as `[redacted: KIND]`. What is redacted already stays as it is."""
    text = _marked(text, _PRIVATE_KEY, text)
    if "@" in text:
        text = _marked(text, _PASSWORD, text)
    words, surroundings = _long_words(text)
    if words:
        for shape in _TOKENS:
            text = _marked(text, shape, words)
        for shape in _LABELLED:
            text = _marked(text, shape, surroundings)
    for shape in _AUTHORIZATION:
        text = _marked(text, shape, text)
    return text


def _long_words(text: str) -> tuple[str, str]:
    """The long words of a text, and the same with what stands before them: little to search in most texts."""
    data = text.encode("ascii", "replace")
    shape = data.translate(_SHAPE) + b" "
    words: list[bytes] = []
    surroundings: list[bytes] = []
    long, end = b"a" * _LONG, 0
    while (start := shape.find(long, end)) >= 0:
        # A hint may begin with the end of the long word before.
        before, end = max(0, end - _HINT), shape.index(b" ", start)
        words.append(data[max(before, start - _PREFIX) : end])
        surroundings.append(data[max(before, start - _REACH) : end])
    return b" ".join(words).decode(), b" ".join(surroundings).decode()


def _marked(text: str, shape: _Token | _Labelled, where: str) -> str:
    for hint in shape.hints:
        if hint in where:
            text = _replaced(text, shape, hint)
    return text


def _replaced(text: str, shape: _Token | _Labelled, hint: str) -> str:
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
    r"""Whether a letter or digit stands before `at` that ends no escape, as in `\nghp_…` or `%3Dghp_…`."""
    before = text[at - 1 : at]
    return before.isascii() and before.isalnum() and not _ESCAPE.search(text, max(0, at - 8), at)
