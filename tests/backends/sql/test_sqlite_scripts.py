"""Searches in the scripts of the world."""

import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.models import NewMessage

FOUND: list[tuple[str, list[str]]] = [
    ("Le café était fermé", ["cafe", "CAFÉ", "cafe\u0301", "ferme", "ÉTAIT", "caf*", "le café"]),
    ("Le cafe\u0301 de\u0301compose\u0301", ["café", "decompose", "décomposé"]),
    ("Straße in Zürich", ["straße", "STRASSE", "strasse", "zurich", "ZÜRICH"]),
    ("İstanbul, Đà Nẵng, Łódź", ["istanbul", "İSTANBUL", "đa nang", "łodz"]),
    ("ﬁnal ｆｕｌｌ Ⅷ ℡", ["final", "full", "ﬁnal", "viii", "tel"]),
    ("Съезд ЕЩЁ раз в Київ", ["съезд", "СЪЕЗД", "ещё", "еще", "РАЗ", "київ", "съ*"]),
    ("Καλημέρα κόσμε, ΟΔΌΣ ἀρχή", ["καλημέρα", "ΚΑΛΗΜΕΡΑ", "οδός", "ΟΔΟΣ", "κόσμε", "αρχη"]),
    ("مرحبا بالعالم الكِتَاب", ["مرحبا", "بالعالم", "الكتاب", "الكِتَاب"]),
    ("שלום עולם שָׁלוֹם", ["שלום", "עולם", "שָׁלוֹם"]),
    ("नमस्ते दुनिया हिन्दी", ["नमस्ते", "दुनिया", "हिन्दी", "दुनिया नमस्ते"]),
    ("தமிழ் తెలుగు ಕನ್ನಡ", ["தமிழ்", "తెలుగు", "ಕನ್ನಡ"]),
    ("ქართული Հայերեն", ["ქართული", "հայերեն", "ՀԱՅԵՐԵՆ"]),
    ("สวัสดีชาวโลก", ["สวัสดี", "ชาว", "โลก", "ชาวโลก"]),
    ("ພາສາລາວ ភាសាខ្មែរ မြန်မာ", ["ພາສາ", "ខ្មែរ", "မြန်မာ"]),
    ("我们去北京旅游。", ["北京", "京", "我", "去北京", "旅游", "北京旅游", "京旅", "去 旅"]),
    ("東京へ行きます。カタカナ ﾊﾝｶｸ", ["東京", "京へ", "行", "カタ", "ハンカク", "ﾊﾝｶｸ", "ます", "ナ"]),
    ("안녕하세요 세계", ["안녕", "하세", "요", "세계", "안녕 세계"]),
    ("the API版本2 is新 here", ["api", "版本", "版本2", "API版本", "新", "is新", "is 版"]),
    ("𠀀𠀁 𝔘𝔫𝔦𝔠𝔬𝔡𝔢", ["𠀁", "unicode", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢"]),
    ("party 🎉 time", ["party", "🎉 party", "🎉 PARTY 🎉 time 🎉"]),
    (
        "C++, C#, foo_bar.baz, x@y.com, v1.2.3",
        ["c++", "c#", "foo_bar", "baz", "x@y.com", "v1.2.3", "foo bar", "c", '"foo bar"'],
    ),
    ("don't it’s l'été", ["don't", "it's", "été", "l'ete"]),
    ("100,000 and 3.14", ["100,000", "100", "3.14", "14"]),
]

NOT_FOUND: list[tuple[str, list[str]]] = [
    ("Le café était fermé", ["caf", "fermer", "tait", "le thé"]),
    ("Съезд ещё раз", ["съ", "зд"]),
    ("我们去北京旅游", ["北旅", "游旅", "京北", "上海", "北京 上海"]),
    ("東京へ行きます", ["京東", "東行", "大阪"]),
    ("안녕하세요 세계", ["녕안", "세요계"]),
    ("สวัสดีชาวโลก", ["โลกชาว"]),
    ("the API版本2", ["本版", "版本3", "apis"]),
    ("нет", ["het"]),
]


async def _found(store: SessionBackend, text: str, query: str) -> tuple[bool, bool]:
    """Search for it as a name and in a message."""
    session = await store.create_session(name=text)
    await store.append_messages(session.id, [NewMessage(role="user", text=text)])
    hits = (await store.search_sessions(query)).hits
    return "" in [hit.message_id for hit in hits], "m1" in [hit.message_id for hit in hits]


@pytest.mark.parametrize(("text", "query"), [(text, query) for text, queries in FOUND for query in queries])
async def test_a_search_finds(store: SessionBackend, text: str, query: str) -> None:
    assert await _found(store, text, query) == (True, True)


@pytest.mark.parametrize(("text", "query"), [(text, query) for text, queries in NOT_FOUND for query in queries])
async def test_a_search_does_not_find(store: SessionBackend, text: str, query: str) -> None:
    assert await _found(store, text, query) == (False, False)
