"""Prompts as people really write them: the same request, said carelessly. For measuring, never for training.

A model may do well on clean prompts and badly on these; S0 sends such a model to preference optimisation. Each sort of
noise is a pure function of a text and of chance, and leaves alone what the answer must repeat: the words of `keep`.

| noise | what becomes of "Book a table at the Ritz for two people" |
| --- | --- |
| typos | letters dropped, doubled, exchanged or hit beside: "Bokk a tabel at the Ritz for two peoople" |
| colloquial | fillers, no capitals, no punctuation: "um book a table at the Ritz like for two people please" |
| fragments | small words go: "Book table Ritz two people" |
| code_switching | frequent words in the other language, English or Chinese: "Book a 桌子 at the Ritz for 两个 people" |

Knows nothing of models or scores.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Collection, Iterable
from typing import Literal, get_args

from posttrain.data.text.words import words

Noise = Literal["typos", "colloquial", "fragments", "code_switching"]
NOISES: tuple[Noise, ...] = get_args(Noise)

TYPO_SHARE = 0.15
"""Of the words of four letters or more (this project): three in an utterance of twenty words."""
SWITCH_SHARE = 0.5
"""Of the words that the small dictionary has."""

_LETTERS = r"[^\W\d_\u4e00-\u9fff]+"
_PART = re.compile(rf"[\u4e00-\u9fff]|{_LETTERS}(?:['’.-]{_LETTERS})*|\d(?:[\d:.,/]*\d)?|\s+|.", re.DOTALL)
_NEIGHBOURS = {
    letter: row[max(0, place - 1) : place] + row[place + 1 : place + 2]
    for row in ("qwertyuiop", "asdfghjkl", "zxcvbnm")
    for place, letter in enumerate(row)
}
_SMALL_WORDS = {
    "a", "an", "the", "at", "for", "of", "on", "in", "to", "is", "are", "am", "do", "does", "did", "be", "would",
    "could", "can", "will", "i", "i'd", "i'm", "me", "my",
}  # fmt: skip
_SMALL_CHARACTERS = re.compile("[的了吗呢吧啊请把给]")
_FILLERS = ("um", "uh", "like", "you know", "well", "so")
_CHINESE_FILLERS = ("嗯", "那个", "呃", "就是")
_SWITCHES = {
    "table": "桌子", "two": "两个", "song": "歌", "music": "音乐", "book": "书", "weather": "天气", "movie": "电影",
    "restaurant": "餐厅", "tomorrow": "明天", "today": "今天", "please": "请", "add": "加", "play": "播放",
    "find": "寻找", "people": "人", "city": "城市", "time": "时间", "want": "想要", "what": "什么", "where": "哪里",
    "good": "好", "answer": "答案", "write": "写", "explain": "解释", "list": "列出", "name": "名字", "number": "数字",
    "day": "天", "one": "一个", "three": "三个", "five": "五个", "new": "新的", "best": "最好", "important": "重要",
    "different": "不同", "how": "如何", "why": "为什么", "sentence": "句子", "word": "单词", "text": "文本",
    "story": "故事", "example": "例子", "question": "问题", "article": "文章", "title": "标题", "topic": "主题",
    "method": "方法", "reason": "原因", "result": "结果", "information": "信息", "data": "数据", "language": "语言",
    "describe": "描述", "create": "创建", "generate": "生成", "design": "设计", "compare": "比较", "give": "给出",
    "make": "制作", "use": "使用", "choose": "选择", "help": "帮助", "translate": "翻译", "summarize": "总结",
    "calculate": "计算", "show": "显示", "tell": "告诉", "convert": "转换", "rewrite": "改写", "identify": "识别",
    "classify": "分类", "search": "搜索", "buy": "购买", "company": "公司", "product": "产品", "customer": "客户",
    "world": "世界", "country": "国家", "life": "生活", "work": "工作", "price": "价格", "friend": "朋友",
    "family": "家庭", "food": "食物", "house": "房子", "school": "学校", "student": "学生", "teacher": "老师",
    "computer": "电脑", "phone": "手机", "email": "邮件", "picture": "图片", "video": "视频", "playlist": "播放列表",
    "artist": "歌手", "album": "专辑", "rate": "评分", "reservation": "预订", "game": "游戏", "program": "程序",
}  # fmt: skip
_BACK = {chinese: english for english, chinese in _SWITCHES.items() if len(chinese) > 1}
"""Without single characters: 加 stands for add, and in 芝加哥 it does not."""


def noisy(text: str, noise: Noise, keep: Collection[str] = (), seed: int = 0) -> str:
    """The text said carelessly; the same arguments give the same text.

    `keep`: texts that the answer repeats; none of their words is touched. A text in which nothing can be changed comes
    back as it is.
    """
    kept = frozenset(word for each in keep for word in words(each))
    number = hashlib.sha256(f"{seed}\x1f{noise}\x1f{text}".encode()).digest()[:8]
    chance = random.Random(int.from_bytes(number, "big"))
    return _MAKERS[noise](_PART.findall(text), kept, chance)


def _is_kept(part: str, kept: Collection[str]) -> bool:
    return any(word in kept for word in words(part))


def _typos(parts: list[str], kept: Collection[str], chance: random.Random) -> str:
    able = [place for place, part in enumerate(parts) if _takes_typo(part) and not _is_kept(part, kept)]
    count = max(1, round(TYPO_SHARE * len(able))) if able else 0
    for place in chance.sample(able, count):
        parts[place] = _mistyped(parts[place], chance)
    return "".join(parts)


def _takes_typo(part: str) -> bool:
    return (part.isascii() and part.isalpha() and len(part) >= 4) or _is_chinese(part)


def _is_chinese(part: str) -> bool:
    return "\u4e00" <= part[0] <= "\u9fff"


def _mistyped(word: str, chance: random.Random) -> str:
    if _is_chinese(word):
        return ""  # a Chinese typist loses characters
    at = chance.randrange(1, len(word))
    slips: list[str] = [
        word[:at] + word[at + 1 :],
        word[:at] + word[at] + word[at:],
        word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :],
    ]
    if near := _NEIGHBOURS.get(word[at].lower()):
        slips.append(word[:at] + chance.choice(near) + word[at + 1 :])
    return chance.choice([slip for slip in slips if slip != word] or slips)


def _colloquial(parts: list[str], kept: Collection[str], chance: random.Random) -> str:
    chinese = sum(map(_is_chinese, parts)) * 2 > sum(part[0].isalnum() for part in parts)
    spoken = [part if _is_kept(part, kept) else part.lower() for part in parts]
    spoken = [part for part in spoken if part not in {".", ",", "!", "?", ";", ":", "。", "，", "！", "？", "；"}]
    fillers, gap = (_CHINESE_FILLERS, "") if chinese else (_FILLERS, " ")
    if places := _gaps(spoken, kept, chinese):
        spoken.insert(chance.choice(places), gap + chance.choice(fillers))
    return (chance.choice(fillers) + gap + "".join(spoken).strip()).strip()


def _gaps(parts: list[str], kept: Collection[str], chinese: bool) -> list[int]:
    """Where a filler may stand: between two words, neither of which is kept."""
    return [
        place
        for place in range(1, len(parts) - 1)
        if (chinese or parts[place].isspace())
        and not any(_is_kept(each, kept) for each in parts[place - 1 : place + 2])
    ]


def _fragments(parts: list[str], kept: Collection[str], chance: random.Random) -> str:
    left = [
        _SMALL_CHARACTERS.sub("", part) if not _is_kept(part, kept) else part
        for part in parts
        if part.lower() not in _SMALL_WORDS or _is_kept(part, kept)
    ]
    return re.sub(r"[ \t]{2,}", " ", "".join(left)).strip(" .?!。？！") or "".join(parts)


def _switched(parts: list[str], kept: Collection[str], chance: random.Random) -> str:
    places = [place for place, part in enumerate(parts) if part.lower() in _SWITCHES and not _is_kept(part, kept)]
    if places:
        for place in chance.sample(places, max(1, round(SWITCH_SHARE * len(places)))):
            parts[place] = _SWITCHES[parts[place].lower()]
        return "".join(parts)
    text = "".join(parts)
    known = [word for word in _BACK if word in text and not _is_kept(word, kept)]
    for word in chance.sample(known, max(1, round(SWITCH_SHARE * len(known)))) if known else ():
        text = text.replace(word, f" {_BACK[word]} ", 1)
    return text.strip()


_MAKERS: dict[Noise, Callable[[list[str], Collection[str], random.Random], str]] = {
    "typos": _typos,
    "colloquial": _colloquial,
    "fragments": _fragments,
    "code_switching": _switched,
}


def repeated(completion: str, prompt: str) -> Iterable[str]:
    """What an answer repeats of its prompt, word by word: what noise must leave alone."""
    asked = frozenset(words(prompt))
    return [word for word in dict.fromkeys(words(completion)) if word in asked]
