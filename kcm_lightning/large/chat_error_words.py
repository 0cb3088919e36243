"""Words by which servers say what an error is about; all are looked for in small letters."""

import re


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns))


NOT_CHARGED = re.compile(
    r"no (credits?|tokens?) (were|was|have been|will be) \w+|not (been |be )?(charged|billed)"
)
MONEY = _any(
    r"\bcredits?\b",
    r"insufficient( \w+)? ?(money|points|coins|units|tokens|usd)|insufficient\W*$",
    r"billing",
    r"payment|unpaid|\bpaid\b|invoice|overdue",
    r"prepa(id|y)",
    r"\bbalance\b|wallet|recharge|top(ping)?[ -]?up\b",
    r"\bfunds?\b",
    r"afford",
    r"(spend(ing)?|usage|hard|daily|monthly|weekly|account|key)\b.{0,12} (limit|cap\b)",
    r"budget (has been |is |was )?(exceeded|exhausted|spent)|over budget|max budget|exceeded ?budget",
    r"subscri",
    r"\btrial\b",
    r"\bfree (tier|plan)",
    r"余额|欠费|充值|额度",
)
QUOTA = re.compile(r"\bquota")  # of money, or of requests in a time
TOO_LONG = _any(
    r"context.{0,12}(length|size|window|limit)",
    r"(prompt|input|request|messages?|text|content|body|payload|question)s? ?(is|are|was|has been)? "
    r"?(too|to) (long|large|big)",
    r"entity too large",
    r"too many (input |prompt )?tokens in",
    r"(prompt|input|messages?) (contains?|has|have) more than \d+ tokens",
    r"reduce (the|your) (length|size|message|prompt|input)",
    r"maximum (input|prompt|sequence|message|text|model) (length|size|tokens)",
    r"(prompt|input|sequence|text|message).{0,40}(exceed|longer than|greater than|at most).{0,40}"
    r"(length|tokens|characters|context|maximum)",
    r"inputs.{0,3} (must have (less|fewer) than \d+ )?tokens",
    r"string too long",
)
TOO_LARGE_FOR_ANY_TIME = _any(
    r"(request|message|prompt|input)s? too large", r"reduce your message size", r"tokens must be reduced"
)
LIMIT_AND_REQUESTED = re.compile(r"limit:? (\d+),? (?:used:? \d+,? )?requested:? (\d+)")
PER_TIME = _any(r"per (second|min|minute|hour|day|week|month)", r"rate.?limit", r"daily|monthly|weekly")
PASSING = re.compile(r"per.(second|min|minute|hour)\b|\brate\b")  # limits that are over soon
WAIT = _any(
    r"(try(ing)?( it)? again|retry) (later|after|in (a|\d|some|few)|shortly|soon)",
    r"\bwait\b|try(ing)? again\W*$|throttl",
)
BUSY = _any(
    r"rate.?limit",
    r"too many requests",
    r"overload",
    r"capacity",
    r"resources? (has been |have been |is |are )?exhausted|resource_exhausted|insufficient.{0,20}resource",
    r"temporar",
    r"unavailable",
    r"timed? ?out",
    r"upstream",
    r"internal (server )?error",
    r"server (is )?(busy|error)",
    r"(model|server) is (currently |still )?loading",
    r"maintenance",
    r"out of memory|\boom\b",
)
# who asks, and what he may: no matter of a question, whatever else is said
ACCOUNT = _any(
    r"\baccounts?\b|\bprojects?\b|\bcustomers?\b",
    r"api[ _-]?key|\b(this|your|the) key\b|\bkey (limit|is|was|has)",
    r"authenti|authori[sz]|unauthori",
    r"permission|privilege|credential|entitle|not eligible",
    r"access ((is|was|has been|been) )?(denied|to\b|restricted|blocked|prohibited|forbidden|disallowed)",
    r"(key|token|licen[sc]e|certificate|password).{0,40}(expired|invalid|revoked|missing)",
    r"(invalid|expired|missing|wrong) (key|token|licen[sc]e|password)",
    r"licen[sc]e",
    r"organi[sz]ation|workspace|tenant|\badmin|\bteam'?s?\b(?! will)",
    r"\b(plan|tier|package|seat|membership)s?\b|upgrade|\byour role\b|sandbox",
    r"\busers?\b(?!.{0,3} ?(prompt|input|message|content|text|query|question))",
    r"your (own )?(activity|use of|usage of|requests? (rate|volume))",
    r"verif|real.?name|identity",
    r"allow.?list|white.?list|block.?list(ed)? ip|\bip\b|firewall|\bwaf\b|cloudflare|captcha",
    r"suspend|deactivat|disabled|banned|terminated|revoked",
    r"country|region|territor|\blocation|ip address",
)
MODEL = _any(
    r"no longer|retired|deprecat|decommission",
    r"(no such|unknown|invalid|unsupported|wrong|which) (model|deployment|engine)",
    r"(model|deployment|engine).{0,80}(not found|(not|n't) (exist|available|supported|loaded)|unknown)",
    r"(this|the|that) (model|deployment|engine) (is|was|has been) (blocked|disallowed|prohibited|forbidden)",
    r"(us(e|age)|access) (of|to) (this|the|that) (model|deployment|engine)",
    r"model weights",
    r"endpoint|not found",
)
# what of this question or of its reply is refused, and for what: "prompts" are all of them, and what only
# begins with such a word is something else
_WHAT = (
    r"\b(prompt|input|content|message|(your|input|the) (messages|inputs)|response|text|query|question|output"
    r"|(?<!chat )(?<!text )completion|candidate|answer|conversation)\b"
    r"(?![- ]?(generation|completion|type|limit|token|quota|length|window|api|endpoint|model|service))"
)
_FOR_WHAT = (
    r"(filter|moderat|flagged|safety|unsafe|harmful|inappropriate|prohibited|disallowed|not allowed|offensive"
    r"|sensitive|violat|(usage|use|ai|content|safety) polic|responsible ai|guardrail|violence|sexual|\bhate"
    r"|self-harm|\brisk)"
)
CONTENTS = _any(
    rf"{_WHAT}.{{0,80}}{_FOR_WHAT}",
    rf"{_FOR_WHAT}.{{0,40}}{_WHAT}",
    r"content.{0,3}(filter|polic|management|moderation|safety|violat)",
    r"prohibited_content|content exists risk",
    r"\b(prompt|input|content|message|response|text|output) (is|was|has been) "
    r"(blocked|refused|rejected)",
    r"(输入|输出|内容|文本|提示).{0,30}(敏感|违规|不安全|不当)|(敏感|违规|不安全|不当).{0,6}(内容|信息)",
)
# where the question may not be what is meant after all
UNCLEAR = re.compile(r"contact|support team|appeal|configur|\benabled?\b|mandatory|missing|not set\b")
LABELED = re.compile(r"\b(team|api key|organi[sz]ation|project|account|user)( id)?: ?\S*\d\S*")  # who asked
