"""What servers' errors mean, in words that servers of today send."""

import json

import pytest

from kcm_lightning.large.chat_errors import Meaning, ServerError, meaning_of
from kcm_lightning.large.error_reply import error_reply

# status, body, and what a person who reads it would do: (Q)uestion refused, ask (L)ater, (S)top, (U)nclear
SAID = [
    (
        400,
        {
            "error": {
                "type": "invalid_request_error",
                "message": "Your credit balance is too low to access the API. "
                "Please go to Plans & Billing to upgrade or purchase credits.",
            }
        },
        "S",
    ),
    (
        402,
        {
            "error": {
                "message": "Insufficient Balance",
                "type": "unknown_error",
                "code": "invalid_request_error",
            }
        },
        "S",
    ),
    (
        429,
        {
            "error": {
                "message": "You exceeded your current quota, please check your plan and billing details.",
                "type": "insufficient_quota",
                "code": "insufficient_quota",
            }
        },
        "S",
    ),
    (
        429,
        {
            "error": {
                "message": "Rate limit reached for gpt-4o in organization org-x on tokens per min (TPM): "
                "Limit 30000, Used 29000, Requested 2000. Please try again in 2s.",
                "type": "tokens",
                "code": "rate_limit_exceeded",
            }
        },
        "L",
    ),
    (401, {"error": {"message": "Incorrect API key provided: sk-x.", "code": "invalid_api_key"}}, "S"),
    (403, {"error": {"message": "Your account is not active, please check your billing details."}}, "S"),
    (
        403,
        {
            "error": {
                "message": "Country, region, or territory not supported",
                "code": "unsupported_country_region_territory",
            }
        },
        "S",
    ),
    (
        403,
        {
            "error": {
                "code": 403,
                "message": "Your chosen model requires moderation and your input was flagged",
                "metadata": {"reasons": ["violence"]},
            }
        },
        "Q",
    ),
    (
        400,
        {
            "error": {
                "code": "content_filter",
                "status": 400,
                "param": "prompt",
                "message": "The response was filtered "
                "due to the prompt triggering Azure OpenAI's content management policy. Please modify it.",
                "innererror": {"code": "ResponsibleAIPolicyViolation"},
            }
        },
        "Q",
    ),
    (400, {"error": {"code": "1301", "message": "系统检测到输入或生成内容可能包含不安全或敏感内容"}}, "Q"),
    (
        400,
        {
            "error": {
                "message": "Invalid prompt: your prompt was flagged as potentially violating our policy.",
                "code": "invalid_prompt",
            }
        },
        "Q",
    ),
    (
        400,
        {
            "error": {
                "message": "This model's maximum context length is 8192 tokens. However, your messages "
                "resulted in 9000 tokens. Please reduce the length of the messages.",
                "code": "context_length_exceeded",
            }
        },
        "Q",
    ),
    (
        400,
        {"object": "error", "message": "prompt is too long: 210000 tokens > 200000 maximum", "code": 400},
        "Q",
    ),
    (
        400,
        {
            "error": {
                "message": "the request exceeds the available context size, try increasing it",
                "type": "exceed_context_size_error",
                "n_ctx": 4096,
            }
        },
        "Q",
    ),
    (
        422,
        {
            "error": "Input validation error: `inputs` must have less than 4096 tokens. Given: 5000",
            "error_type": "validation",
        },
        "Q",
    ),
    (500, {"error": {"message": "the request exceeds the available context size"}}, "Q"),
    (413, "<html><head><title>413 Request Entity Too Large</title></head></html>", "Q"),
    (
        404,
        {
            "error": {
                "message": "The model `gpt-9` does not exist or you do not have access to it.",
                "code": "model_not_found",
            }
        },
        "S",
    ),
    (400, {"error": {"message": "model 'llama9' not found, try pulling it first"}}, "S"),
    (400, {"error": {"message": "This organization has been disabled."}}, "S"),
    (405, {"detail": "Method Not Allowed"}, "S"),
    (303, "", "S"),
    (503, {"error": {"message": "Loading model", "type": "unavailable_error"}}, "L"),
    (529, {"error": {"type": "overloaded_error", "message": "Overloaded"}}, "L"),
    (500, {"error": {"message": "Content filter service is temporarily unavailable"}}, "L"),
    (502, "<html><title>502 Bad Gateway</title></html>", "L"),
    (400, {"error": {"message": "Bad request"}}, "U"),
    (429, {"error": {"code": "1113", "message": "您的账户已欠费,请充值后重试"}}, "S"),
    # in a reply of status 200
    (200, {"error": {"code": 402, "message": "Insufficient credits. Add more using the account page"}}, "S"),
    (200, {"error": {"code": 502, "message": "Provider returned error"}}, "L"),
    (200, {"error": {"message": "Provider disconnected"}}, "L"),
    (
        200,
        {
            "error": {
                "code": "data_inspection_failed",
                "message": "Input data may contain inappropriate content.",
            }
        },
        "Q",
    ),
    # words of one kind in an error of another
    (
        400,
        {"error": {"message": "Your account was flagged for violating our usage policy. Contact support."}},
        "S",
    ),
    (
        429,
        {
            "error": {
                "message": "Too many tokens per minute: your prompt is too long for the limit per minute"
            }
        },
        "L",
    ),
]
MEANINGS = {"Q": Meaning.QUESTION, "L": Meaning.LATER, "S": Meaning.STOP, "U": Meaning.UNKNOWN}


@pytest.mark.parametrize(("status", "body", "wanted"), SAID)
def test_what_servers_say(status, body, wanted):
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    assert meaning_of(error_reply(status, text, {})) is MEANINGS[wanted]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"error": {"message": "no credit"}}', "no credit"),
        ('{"error": "no credit"}', "no credit"),
        ('{"detail": "no credit"}', "no credit"),
        ('[{"error": {"code": 400, "message": "no credit"}}]', "no credit"),
        ('{"errors": [{"message": "no credit"}]}', "no credit"),
        ('{"detail": [{"loc": ["body"], "msg": "field required"}]}', "field required"),
        ("no credit", "no credit"),
        ("<html><title>No\n credit</title><body>" + "x" * 100, "a web page, 'No credit'"),
        ("[" * 100_000, "[[["),
    ],
)
def test_the_servers_words_are_found(text, words):
    assert words in error_reply(400, text, {}).message


def test_the_time_to_wait_is_read_and_nonsense_is_not():
    assert error_reply(429, "", {"retry-after": "2.5"}).pause == 2.5
    assert error_reply(429, "", {"retry-after": "-3"}).pause == 0
    assert error_reply(429, "", {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}).pause is None
    assert isinstance(error_reply(429, "", {}), ServerError)


# words of servers and gateways about who asks, beside words of contents: none of them is about the question
OF_THE_ACCOUNT = [
    "Project blocked due to unpaid invoice",
    "Use of this model is prohibited for your plan",
    "Access prohibited",
    "Forbidden: IP not in allowlist, prohibited",
    "Usage of this model is disallowed by your admin policy",
    "Your use of GPT is blocked due to safety concerns regarding your activity",
    "Requests from unverified users are blocked because of abuse. Verify your email.",
    "Request blocked by Cloudflare WAF: sensitive",
    "real-name verification required; prohibited",
    "Prompt is too long: your tier permits 0 tokens",
    "text too long; max_tokens budget exhausted for tenant",
    "Model weights flagged as unsafe: refusing to load",
    "Prompts are blocked because of policy violations",
    "Chat completions are disallowed for guests",
    "Text generation is prohibited on this deployment",
    "Content filter not configured for this deployment",
    "Your message was blocked: the plan does not include this model",
    "Sensitive industries are prohibited from using the service",
]


@pytest.mark.parametrize("status", [200, 400, 403])
@pytest.mark.parametrize("words", OF_THE_ACCOUNT)
def test_words_about_who_asks_settle_no_question(words, status):
    meaning = meaning_of(error_reply(status, json.dumps({"error": {"message": words}}), {}))
    assert meaning in (Meaning.STOP, Meaning.UNKNOWN) or (status == 200 and meaning is Meaning.LATER)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("Output blocked by content filtering policy", None),
        ("The prompt was blocked: PROHIBITED_CONTENT", None),
        ("Content violates usage guidelines. Team: 1b-2c, API key ID: 3d-4e, Failed check: SAFETY", None),
        ("Content Exists Risk", None),
        ("input new_sensitive", None),
        ("Prompt contains more than 32768 tokens", None),
        ("The balance of the review is harmful", "content_policy_violation"),
        (
            "Request too large for model x in organization org_1 on tokens per minute (TPM): Limit 6000, "
            "Requested 7000, please reduce your message size and try again.",
            "rate_limit_exceeded",
        ),
    ],
)
def test_words_or_codes_about_the_question_settle_it(words, code):
    text = json.dumps({"error": {"message": words, "code": code}})
    assert meaning_of(error_reply(400, text, {})) is Meaning.QUESTION


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (503, "The server has insufficient capacity, please try again later"),
        (500, "Insufficient resources on GPU node, try again later"),
        (429, "Resource has been exhausted (e.g. check quota)."),
        (429, "Quota exceeded for requests per minute"),
        (400, "Too many tokens, please wait before trying again."),
        (400, "Insufficient workers, retry in 3 seconds"),
    ],
)
def test_passing_trouble_is_waited_for(status, words):
    assert meaning_of(error_reply(status, json.dumps({"error": {"message": words}}), {})) is Meaning.LATER


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (503, "Your credit balance is too low"),
        (429, "You exceeded your current quota, please check your plan and billing details."),
        (500, "quota exceeded for this month"),
    ],
)
def test_what_does_not_pass_stops_whatever_the_status(status, words):
    assert meaning_of(error_reply(status, json.dumps({"error": {"message": words}}), {})) is Meaning.STOP
