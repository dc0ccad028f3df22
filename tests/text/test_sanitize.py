"""Sanitizing and redacting stored text: what is removed, what is kept, and which credentials are hidden."""

import random
import re
import string
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Sequence
from time import thread_time
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_sessions.text.sanitize import clean, redact, sanitize

HIDDEN = {
    "C0 controls": [*range(9), *range(0x0E, 0x20), 0x7F],
    "C1 controls": [*range(0x80, 0x85), *range(0x86, 0xA0)],
    "bidirectional controls": [0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)],
    "zero-width characters": [0xAD, 0x34F, 0x180E, 0x200B, 0x200C, 0x200D, *range(0x2060, 0x2066), 0xFEFF],
    "deprecated and annotation controls": [*range(0x206A, 0x2070), *range(0xFFF9, 0xFFFC)],
    "musical and shorthand controls": [*range(0x1D173, 0x1D17B), *range(0x1BCA0, 0x1BCA4)],
    "fillers": [0x115F, 0x1160, 0x3164, 0xFFA0, 0x17B4, 0x17B5],
    "tags": range(0xE0000, 0xE0080),
    "variation selectors": [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0), 0x180B, 0x180C, 0x180D, 0x180F],
    "noncharacters": [*range(0xFDD0, 0xFDF0), *range(0xFFFE, 0x110000, 0x10000), *range(0xFFFF, 0x110000, 0x10000)],
}
TAGS = {point: 0xE0000 + point for point in range(0x80)}
SEQUENCES = {
    "control sequences": "\x1b[1;38;5;196m\x1b[2J\x1b[?25l\x1b[0 q",
    "title, ended by BEL": "\x1b]0;rm -rf\x07",
    "link, ended by ST": "\x1b]8;;https://evil.example\x1b\\",
    "device control": "\x1bP1$r0m\x1b\\",
    "other strings": "\x1b_Gf=100;AAAA\x1b\\\x1b^secret\x1b\\\x1bXhidden\x9c",
    "two characters": "\x1bc\x1b7\x1bM\x1b(B",
    "8-bit control sequence": "\x9b31m",
    "8-bit operating system command": "\x9d0;title\x9c",
    "8-bit strings": "\x90q\x9c\x98x\x9c\x9ey\x9c\x9fz\x1b\\",
    "split by what is hidden": "\x1b\u200b[\u20603\U000e00411m",
    "two in a row": "\x9d0;a\x9c\x9b1m",
}

KEPT = {
    "tab and newline": "a\tb\n\n c",
    "family": "👨\u200d👩\u200d👧\u200d👦 👩🏽\u200d💻 🏃\u200d♀\ufe0f\u200d➡\ufe0f 🐦\u200d⬛",
    "couple": "🧑🏻\u200d❤\ufe0f\u200d💋\u200d🧑🏿",
    "pride and pirates": "🏳\ufe0f\u200d🌈 🏴\u200d☠\ufe0f 🏳\ufe0f\u200d⚧\ufe0f",
    "flags": "🇪🇸 🇯🇵 🏴" + "gbsct\x7f".translate(TAGS) + "🏴" + "gbeng\x7f".translate(TAGS),
    "keycaps": "1\ufe0f⃣ #\ufe0f⃣ *⃣",
    "emoji and text style": "❤\ufe0f ☎\ufe0e ©\ufe0f ™\ufe0f ✔\ufe0e ⚠\ufe0f",
    "Persian": "می\u200cخواهم کتاب\u200cها را بخوانم",
    "Arabic": "السَّلامُ عَلَيْكُم، ١٤٤٥ه\u200d ",
    "shown as its final form": "\u200dه",
    "Devanagari and Malayalam": "क्\u200dष क्\u200cष हिन्दी, അവന്\u200d വന്നു",
    "Sinhala and Bengali": "ශ්\u200dරී ලංකා, র\u200d্যাব",
    "Hebrew and Thai": "שָׁלוֹם, עולם 123 สวัสดีชาวโลก",
    "ideographs with their variants": "葛\U000e0100飾区 辻\U000e0101 祇\ufe00 漢字かな 한국어",
    "Mongolian": "ᠮᠣᠩᠭᠣᠯ ᠪᠢᠴᠢᠭ\u180c ᠠᠷᠠ\u180eᠠ",
    "Phags-pa, Myanmar, operators": "ꡖ\ufe00 က\ufe00 a ≩\ufe00 b",
    "Korean of old": "\u115fᅡ ᄀ\u1160 ㄱ\u3164",
    "private use and unassigned": "\ue000\U0010fffd\u0378",
    "typography": "“quotes” – – … \u00a0\u3000x\ufffd\ufffc",
}

PEM = "-----BEGIN " + "RSA PRIVATE" + " KEY-----\n{}\n-----END " + "RSA PRIVATE" + " KEY-----"


def rnd(length: int, alphabet: str = string.ascii_letters + string.digits, seed: int = 5) -> str:
    return "".join(random.Random(seed * 1000 + length).choices(alphabet, k=length))


WORD, HEX, UPPER = string.ascii_letters + string.digits + "-_", "0123456789abcdef", "ABCDEFGHIJ234567"
BASE64 = string.ascii_letters + string.digits + "+/"
JWT = ".".join(("ey" + "JhbGciOiJIUzI1NiJ9", "ey" + "JzdWIiOiIxIn0", rnd(43, WORD[:-2])))
CREDENTIALS = [
    ("openai key", "sk-" + rnd(48)),
    ("openai key", "sk-" + "proj-" + rnd(60, WORD)),
    ("openai key", "sk-" + "a" * 48),
    ("anthropic key", "sk-" + "ant-api03-" + rnd(93, WORD) + "AA"),
    ("openrouter key", "sk-" + "or-v1-" + rnd(64, HEX)),
    ("google api key", "AI" + "za" + rnd(35, WORD)),
    ("google oauth token", "ya" + "29." + rnd(60, WORD)),
    ("google oauth token", "GOC" + "SPX-" + rnd(28, WORD)),
    ("aws access key", "AK" + "IA" + rnd(16, UPPER)),
    ("github token", "gh" + "p_" + "a" * 36),
    ("github token", "gh" + "s_" + rnd(36)),
    ("github token", "github" + "_pat_" + rnd(22) + "_" + rnd(59)),
    ("gitlab token", "gl" + "pat-" + rnd(20, WORD)),
    ("bitbucket token", "AT" + "BB" + rnd(32)),
    ("npm token", "np" + "m_" + rnd(36)),
    ("pypi token", "py" + "pi-AgEIcHlwaS5vcmc" + rnd(80, WORD)),
    ("slack token", "xo" + "xb-" + rnd(12, string.digits) + "-" + rnd(13, string.digits) + "-" + rnd(24)),
    ("slack token", "xap" + "p-1-A" + rnd(10, UPPER) + "-" + rnd(13, string.digits) + "-" + rnd(64, HEX)),
    ("stripe key", "sk" + "_live_" + rnd(24)),
    ("webhook secret", "wh" + "sec_" + rnd(32, BASE64)),
    ("sendgrid key", "S" + "G." + rnd(22, WORD) + "." + rnd(43, WORD)),
    ("hugging face token", "h" + "f_" + rnd(34, string.ascii_letters)),
    ("groq key", "gs" + "k_" + rnd(52)),
    ("xai key", "xa" + "i-" + rnd(80)),
    ("replicate token", "r" + "8_" + rnd(37)),
    ("databricks token", "da" + "pi" + rnd(32, HEX)),
    ("digitalocean token", "do" + "p_v1_" + rnd(64, HEX)),
    ("vault token", "hv" + "s." + rnd(95, WORD)),
    ("age key", "AGE-SECRET" + "-KEY-1" + rnd(58, UPPER)),
    ("guayaba key", "g_" + "master_" + rnd(48, HEX)),
    ("guayaba key", "g_" + "agent_" + rnd(48, HEX)),
    ("agentos token", "agno" + "_pat_" + rnd(43, WORD)),
    ("jwt", JWT),
    ("private key", PEM.format("\n".join(rnd(64, BASE64) for _ in range(8)))),
    ("private key", PEM.partition("{")[0] + "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0A\n\n" + rnd(64, BASE64)),
    ("private key", PEM.format(r"\n".join(rnd(64, BASE64) for _ in range(3)))),
]
LABELLED = [
    ("AWS_SECRET_ACCESS_KEY=", rnd(40, BASE64), "\n", "secret key"),
    ('"SecretAccessKey": "', rnd(40, BASE64), '"', "secret key"),
    ("the secret key is ", rnd(40, BASE64), ".", "secret key"),
    ("AccountName=a;AccountKey=", rnd(86, BASE64) + "==", ";EndpointSuffix=core.windows.net", "azure key"),
    ("https://a.blob.core.windows.net/c?sv=2024-01-01&sig=", rnd(43) + "%3D", "&se=2030", "azure signature"),
    ("https://hooks.slack.com/services/", "T0123ABCD/B0123ABCD/" + rnd(24), ")", "slack webhook"),
    ("https://api.telegram.org/bot123456789:", "AA" + rnd(33, WORD[:-2]), "/getMe", "telegram token"),
    ("DISCORD_TOKEN=", "MT" + rnd(22) + "." + rnd(6) + "." + rnd(38), "\n", "discord token"),
    ("https://discord.com/api/webhooks/123456789012345678/", rnd(68, WORD), " ", "discord webhook"),
    ("TWILIO_AUTH_TOKEN: ", rnd(32, HEX), "", "twilio token"),
    ("postgres://u:", "s3cr3t", "@host/db", "password"),
    ("redis://:", "p@ss:w%20rd", "@10.0.0.1:6379/0", "password"),
    (r"mysql:\/\/root:", "hunter2", r"@db:3306\/x", "password"),
    ("mongodb+srv://me:", "x", "@c.example,d.example/?w=1", "password"),
    ("Authorization: Bearer ", "abc123def456", "\r\n", "bearer token"),
    ('headers={"authorization": "BEARER ', rnd(32), '"}', "bearer token"),
    ("curl -H 'Authorization: token ", rnd(40, HEX), "'", "bearer token"),
    ("sent Bearer ", rnd(40, WORD), ", and it", "bearer token"),
    ("Authorization: Basic ", "dXNlcjpwYXNzd29yZA==", "\n", "basic auth"),
]
SURROUNDINGS = [
    "{}", "it is {}.", "`{}`", '{{"key": "{}"}}', '{{\\"key\\": \\"{}\\"}}', "KEY={}&next=1", "a%3D{}%26b%3D2",
    "(<{}>)", "**{}**", "{}\t{}", "x,{};y", "https://x.example/?token={}#top", "日本語{}です", r"{}\u0022", r"1\n{}\n2",
]  # fmt: skip
BASES = [
    *(chr(point) for points in HIDDEN.values() for point in (points[0], points[-1], points[len(points) // 2])),
    *"\r\n\t\v\x1b[]mP\\\x07\x9b\x9c\x9d\xc3\xe2\x85\u2028aا漢👩1#⃣ᠠ각ㄱﾡ🏴क्", "\ud83d", "\ude00",
]  # fmt: skip
SECRETS = [text for _, text in CREDENTIALS] + ["".join(parts[:3]) for parts in LABELLED]
PIECES = [*SECRETS, *" \n.,-_/:=@\"'`[]%", "://", "a1", "secret=", "Bearer "]
ANY_TEXT = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize("points", HIDDEN.values(), ids=HIDDEN)
def test_a_hidden_character_is_removed_between_latin_letters(points: Sequence[int]) -> None:
    assert [point for point in points if clean(f"pass{chr(point)}word") != "password"] == []
    assert clean("".join(map(chr, points))) == ""


@pytest.mark.parametrize("sequence", SEQUENCES.values(), ids=SEQUENCES)
def test_a_terminal_escape_sequence_is_removed_completely(sequence: str) -> None:
    assert clean(f"one {sequence}two") == "one two"


@pytest.mark.parametrize("text", KEPT.values(), ids=KEPT)
def test_characters_needed_to_read_a_text_are_kept(text: str) -> None:
    assert clean(text) == text
    assert clean(f"\x1b[1m{text}\u200b") == text


@pytest.mark.parametrize("end", ["\r\n", "\r", "\v", "\f", "\x85", "\u2028", "\u2029", "\r\x1b[K\n", "\r\u200b\n"])
def test_every_line_break_becomes_a_newline(end: str) -> None:
    assert clean(f"one{end}two") == "one\ntwo"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("😀" + "".join(chr(0xE0100 + byte) for byte in b"do evil"), "😀"),
        ("a\ufe01b\ufe0fc", "abc"),
        ("❤\ufe0f\ufe0f\ufe0e", "❤\ufe0f"),
        ("1\ufe0f, 2\ufe0f", "1, 2"),
        ("می\u200c\u200cخواهم", "میخواهم"),
        ("word\u200c \u200dword", "word word"),
        ("👩\u200d word", "👩 word"),
        ("🏴" + "ignoreall\x7f".translate(TAGS), "🏴"),
        ("🏴" + "gb".translate(TAGS) + "x", "🏴x"),
    ],
)
def test_joiners_and_selectors_without_a_base_character_are_removed(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


def test_a_lone_surrogate_is_replaced_and_a_pair_is_joined() -> None:
    assert clean("a\ud83d b\ude00 \ud83d\ude00") == "a\ufffd b\ufffd 😀"


def test_an_unterminated_escape_sequence_hides_no_text() -> None:
    assert clean("\x1b]0;a title\nand the rest") == "0;a title\nand the rest"
    assert clean("the end \x1b[3") == "the end "


def test_text_decoded_with_the_wrong_charset_keeps_its_visible_characters() -> None:
    misread = "“one”, he said, “two” Ûne".encode().decode("latin-1")
    assert clean(misread) == re.sub("[\x80-\x9f]", "", misread)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(BASES), max_size=14).map("".join) | ANY_TEXT)
def test_sanitizing_twice_changes_nothing_more(text: str) -> None:
    cleaned = clean(text)
    assert clean(cleaned) == cleaned
    assert cleaned.encode().decode() == cleaned
    assert not re.search("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b]", cleaned)


@pytest.mark.parametrize(("kind", "secret"), CREDENTIALS)
def test_a_credential_is_redacted_wherever_it_stands(kind: str, secret: str) -> None:
    mark = f"[redacted: {kind}]"
    for place in SURROUNDINGS:
        assert redact(place.format(secret, secret)) == place.format(mark, mark)


@pytest.mark.parametrize(("before", "secret", "after", "kind"), LABELLED)
def test_a_value_after_a_label_is_redacted(before: str, secret: str, after: str, kind: str) -> None:
    for start, end in [("", ""), ("see ", " there"), ("日本", "\n")]:
        assert redact(start + before + secret + after + end) == f"{start}{before}[redacted: {kind}]{after}{end}"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=10).map("".join) | ANY_TEXT)
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    assert redact(redact(text)) == redact(text)
    assert sanitize(once := sanitize(text, redact_credentials=True), redact_credentials=True) == once


def test_a_credential_with_hidden_characters_inside_is_redacted() -> None:
    token = "gh" + "p_" + "a\u200b" * 18 + "\x1b[0m" + "b\u2060" * 18
    assert sanitize(f"x {token} y", redact_credentials=True) == "x [redacted: github token] y"
    assert sanitize(token, redact_credentials=False) == "gh" + "p_" + "a" * 18 + "b" * 18


def look_alikes(seed: int) -> list[str]:
    r = random.Random(seed)
    words = ["the", "session", "was", "renamed", "after", "risk-free", "task", "disk-usage", "bearer", "token", "tests"]

    def of(length: int, alphabet: str) -> str:
        return "".join(r.choices(alphabet, k=length))

    def some(separator: str) -> str:
        return separator.join(r.choices(words, k=r.randrange(2, 12)))

    def data(count: int) -> str:
        return b64encode(r.randbytes(count)).decode()

    uuid = UUID(int=r.getrandbits(128))
    return [
        of(40, HEX), of(64, HEX), of(32, HEX), of(7, HEX), str(uuid), f"sha256:{of(64, HEX)}", f"commit {of(40, HEX)}",
        f"task-{uuid}", f"risk-{of(48, WORD)}", f"wolf_{of(40, HEX)}", f"sig={of(64, HEX)}", f"{of(60, HEX)}.js",
        data(48), data(600), f"data:image/png;base64,{data(900)}", urlsafe_b64encode(r.randbytes(90)).decode(),
        f"sha512-{data(64)}", f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{data(32)} me@host", f"index-{of(8, WORD)}.js",
        f"-----BEGIN CERTIFICATE-----\n{data(48)}\n-----END", f"-----BEGIN PUBLIC KEY-----\n{data(48)}", "*" * 40,
        f"https://x.example/{uuid}/{of(12, WORD)}?page={r.randrange(99)}&q={some('+')}", f"git@x.example:{some('-')}",
        f"https://{some('-')}@host.example/path", f"http://localhost:{r.randrange(65536)}/@vite/{some('_')}@2.0",
        f"docker://alpine:3.{r.randrange(20)}@sha256:{of(64, HEX)}", f"postgres://user:${{DB_PASSWORD}}@{some('.')}/db",
        some(" "), some("_"), f"def {some('_')}(self, {some('_')}: str = '') -> None:", f"/usr/{some('/')}.py",
        f"{r.randrange(24):02}:{r.randrange(60):02}:00 AA {some(' ')}", f".sk-{some('-')} {{ color: #{of(6, HEX)} }}",
        "Authorization: Bearer <token>", "Authorization: `Basic ${encoded(x)}`", f"bearer = getCredential{some('')}(x)",
        f"a Bearer token for {some(' ')}", "sk-...", "sk-your-key-here", "ghp_xxxx", "eyJ...", f"AKIA {of(20, UPPER)}",
        f"npm_config_{some('_')}", "os.environ['OPENAI_API_KEY']", f"secret: {some(' ')}", f"u{of(2, HEX)}@x.example",
    ]  # fmt: skip


def test_texts_that_resemble_credentials_are_kept() -> None:
    corpus = [item for seed in range(60) for item in look_alikes(seed)]
    touched = [item for item in corpus if sanitize(item, redact_credentials=True) != item]
    assert len(corpus) >= 2000
    assert len(touched) < len(corpus) / 1000, touched


def test_a_private_key_block_without_a_key_is_kept() -> None:
    bodies = [PEM.format(body) for body in ("...", "and ends with", "<your key>")]
    assert list(map(redact, bodies)) == bodies


HOSTILE = [
    "eyJ", "eyJ-", "%2DeyJ", "sk-", "sk-ant-", "ghp_a", "hf_", "://", "://:", "@://:::", "12345678:AA", "SG.", "A",
    "-----BEGIN", "-----BEGIN RSA PRIVATE", PEM.partition("{")[0], PEM.partition("{")[0] + "A: b\n", "bearer-", "ecret",
    "uthorization-basic-", "uthorization: bearer ", "iscord", "wilio ", "[redacted: ", "AccountKey=", "=",
    "\x1b]", "\x1b[", "\x9d", "\x1b[0;", "\xc3\x9d", "🏴", "\U000e0067", "a\ufe0f", "\u200d", "👩\u200d",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE, ids=ascii)
def test_sanitizing_time_grows_linearly_with_the_length(piece: str) -> None:
    quarter = piece * (7_000 // len(piece))  # from 30,000 characters on, CPython's `find` works otherwise, and slower
    times: list[list[float]] = [[], []]
    for _ in range(40):
        for texts, taken in zip(([quarter] * 4, [quarter * 4]), times, strict=True):
            start = thread_time()
            for text in texts:
                sanitize(text, redact_credentials=True)
            taken.append(thread_time() - start)
        if len(times[0]) > 2 and min(times[1]) < 1.7 * min(times[0]):
            return
    pytest.fail(f"{min(times[1]) / min(times[0]):.1f} times as long")
