"""The bill in words."""

from kcm_lightning.results.usage import print_usage


def test_only_sums_of_money_have_a_currency(capsys):
    now = {"requests": 53, "priced_answers": 53, "price_of_these": 0.25, "questions": 53}
    usage = {"requests": 70, "money": 0.5, "currency": "EUR", "money_per_1000_questions": 4.7}
    print_usage(usage | {"this_command": now})
    assert capsys.readouterr().out.strip() == (
        "large model: requests 70, money 0.5 EUR, money per 1,000 questions 4.7 EUR; in this command: "
        "requests 53, priced answers 53, price of these 0.25 EUR, questions 53"
    )


def test_a_bill_without_a_head_has_none(capsys):
    print_usage({"this_command": {"from_cache": 3}})
    assert capsys.readouterr().out.strip() == "large model: in this command: from cache 3"
