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
