"""The marks that models put around their reasoning and their answer, in one form."""

import re

SPECIAL_TOKEN = re.compile(r"<[|\uff5c][^|\uff5c>]*[|\uff5c]>|</?s>")
_NAMES = (
    r"think(?:ing)?|thoughts?|reason(?:ing)?|reflection|scratch_?pad|analysis|rationale|(?:inner_)?monologue"
    r"|chain_of_thought|cot"
)
TAG = re.compile(rf"<(/?)(?:\w+:)?(?:{_NAMES})(?:\s[^<>]*)?>", re.I)
# each kind of mark: where reasoning begins, and where it ends
_MARKS = (
    (rf"<(?:\w+:)?(?:{_NAMES})(?:\s[^<>]*)?>", rf"</(?:\w+:)?(?:{_NAMES})\s*>"),
    (rf"\[(?:{_NAMES})\]", rf"\[/(?:{_NAMES})\]"),
    (r"<\|(?:START|begin_of)_(?:THINKING|THOUGHT)\|>", r"<\|(?:END|end_of)_(?:THINKING|THOUGHT)\|>"),
    (r"<\|think(?:ing)?\|>", r"<\|/think(?:ing)?\|>"),
    (r"<\|inner_prefix\|>", r"<\|inner_suffix\|>"),
    (r"<unused94>(?:thought)?", r"<unused95>"),
    (r"<\|channel>thought", r"<channel\|>"),
    (r"◁think▷", r"◁/think▷"),
    (r"<\|channel\|>(?!final)[^<]{0,100}<\|message\|>", r"<\|channel\|>final[^<]{0,100}<\|message\|>"),
)
_BEGIN = re.compile("|".join(begin for begin, _ in _MARKS), re.I)
_END = re.compile("|".join(end for _, end in _MARKS), re.I)
# what comes before the last of these is no answer
_ANSWER = re.compile(
    r"<\|channel\|>final[^<]{0,100}<\|message\|>|<\|START_RESPONSE\|>|<\|begin_of_solution\|>", re.I
)
_CHANNEL = re.compile(r"\s*analysis(?=[A-Z])")  # whose marks were lost on the way
_CHANNEL_WITH_LINES = re.compile(r"\s*analysis(?=[A-Z\n])")
_FINAL = "assistantfinal"


def in_one_form(content: str, cut: bool) -> str:
    """A reply with `<think>` and `</think>` around its reasoning, and no other marks.

    Args:
        content: words as the server sends them.
        cut: whether they were cut off for their length.

    >>> in_one_form("[THINK]Is it?[/THINK]yes", cut=False)
    '<think>Is it?</think>yes'
    >>> in_one_form("<|channel|>analysis<|message|>Is it?<|end|><|channel|>final<|message|>yes", cut=False)
    'yes'
    """
    marks = list(_ANSWER.finditer(content))
    if marks:
        content = content[marks[-1].end() :]
    elif _CHANNEL_WITH_LINES.match(content) and _FINAL in content:
        content = content.rpartition(_FINAL)[2]
    elif (_CHANNEL_WITH_LINES if cut else _CHANNEL).match(content):
        content = f"<think>{content}"
    content = _END.sub("</think>", _BEGIN.sub("<think>", content))
    return SPECIAL_TOKEN.sub("", content)
