"""A log of a chat model becomes recorded answers: forms of lines, probabilities, what is left out."""

import json
import math

import pytest
import torch

from kcm_lightning.core.predictions import Query
from kcm_lightning.large import Recorded
from kcm_lightning.large.api_log import import_log
from kcm_lightning.utils.errors import InputError
from tests.run_commands import kcm

PROMPT = "You sort tickets. Say billing, defect or delivery.\n\nTicket: {text}\n\nAnswer in one word."


def exchange(text, word, probability=None, prompt=PROMPT):
    choice = {"index": 0, "message": {"role": "assistant", "content": word}, "finish_reason": "stop"}
    if probability:
        choice["logprobs"] = {"content": [{"token": word, "logprob": math.log(probability)}]}
    messages = [{"role": "system", "content": "Sort."}, {"role": "user", "content": prompt.format(text=text)}]
    return {"model": "m", "messages": messages}, {"id": "x", "choices": [choice]}


TICKETS = {
    "The box came late": ("Delivery", 0.8),
    "It is broken. Again!": ("defect.", 0.6),
    "Charged twice for it": ("billing", None),
    "Where is my parcel?": ("delivery", 0.9),
}
PAIRS = [exchange(text, *said) for text, said in TICKETS.items()]
FORMS = {
    "request and response": [{"request": one, "response": two} for one, two in PAIRS],
    "body and response": [{"body": one, "response": {"status_code": 200, "body": two}} for one, two in PAIRS],
    "in one object": [one | two for one, two in PAIRS],
}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("prompt", [None, PROMPT])
def test_texts_answers_and_probabilities(tmp_path, form, prompt):
    found = import_log([write(tmp_path / "log.jsonl", FORMS[form])], prompt)
    assert found.class_names == ["billing", "defect", "delivery"] and not found.skipped
    assert {text: answer for text, (answer, _) in found.answers.items()} == {
        "The box came late": "delivery",
        "It is broken. Again!": "defect",
        "Charged twice for it": "billing",
        "Where is my parcel?": "delivery",
    }
    for text, (_, sure) in found.answers.items():
        expected = TICKETS[text][1]
        assert sure is None if expected is None else sure == pytest.approx(expected)


def test_two_files_of_a_batch(tmp_path):
    asked = [{"custom_id": str(n), "method": "POST", "body": one} for n, (one, _) in enumerate(PAIRS)]
    said = [{"custom_id": str(n), "response": {"body": two}} for n, (_, two) in enumerate(PAIRS)]
    found = import_log([write(tmp_path / "in.jsonl", asked), write(tmp_path / "out.jsonl", said[1:])])
    assert len(found.answers) == 3 and found.skipped == {"requests without a reply": 1}


def test_what_is_of_no_use_is_counted(tmp_path):
    rows = [*FORMS["in one object"], {"status": 200}]
    one, two = exchange("It came late", "I cannot say what it is")
    rows.append(one | two)
    one, two = exchange("hello", "billing", prompt="{text}")
    rows.append(one | two)
    one, two = exchange("Where is my parcel?", "billing")
    rows.append(one | two)
    found = import_log([write(tmp_path / "log.jsonl", rows)], PROMPT, ["billing", "defect", "delivery"])
    assert found.skipped == {
        "lines without request and reply": 1,
        "replies that name no class": 1,
        "questions of another prompt": 1,
        "earlier replies with another answer than the last to the same text": 1,
    }
    assert found.answers["Where is my parcel?"][0] == "billing"


@pytest.mark.parametrize(
    ("rows", "prompt", "said"),
    [
        ([{"a": 1}], None, "there is no question with its reply (1 lines without request and reply)"),
        (FORMS["in one object"], "no field", "--prompt has to say once where the {text} stands"),
        (FORMS["in one object"][:1], None, "1 different ones, too few for class names"),
        ([one | two for n in range(300) for one, two in [exchange(f"t {n}", f"word{n}")]], None, "too many"),
    ],
)
def test_what_cannot_be_used_is_one_line(tmp_path, rows, prompt, said):
    with pytest.raises(InputError) as error:
        import_log([write(tmp_path / "log.jsonl", rows)], prompt)
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("as_csv", [False, True])
def test_the_command_writes_what_recorded_answers_from(tmp_path, as_csv):
    write(tmp_path / "log.jsonl", FORMS["in one object"])
    printed = kcm(tmp_path, "import", "log.jsonl", "--output", "answers.jsonl")
    assert "4 texts with their answers" in printed and "classes: billing 1, defect 1, delivery 2" in printed
    path = tmp_path / "answers.jsonl"
    if as_csv:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        path = tmp_path / "answers.csv"
        lines = [f'"{row["text"]}";{row["answer"]};{row.get("confidence", "")}' for row in rows]
        path.write_text("\n".join(["text;answer;confidence", *lines]))
    model = Recorded(str(path), recorded_confidence=0.7)
    model.load(["delivery", "billing", "defect"], torch.device("cpu"))
    answer = model.answer(Query(list(TICKETS)))
    assert answer.prediction.tolist() == [0, 2, 1, 0]
    torch.testing.assert_close(answer.confidence, torch.tensor([0.8, 0.6, 0.7, 0.9]))
    with pytest.raises(AssertionError, match=r"answers\.jsonl is there already"):
        kcm(tmp_path, "import", "log.jsonl", "--output", "answers.jsonl")


def test_answers_to_images_by_their_paths(tmp_path):
    (tmp_path / "images").mkdir()
    paths = [tmp_path / "images" / f"{n}.png" for n in range(3)]
    (tmp_path / "answers.csv").write_text("path,answer\nimages/2.png,cat\nimages/0.png,dog\n")
    model = Recorded(str(tmp_path / "answers.csv"))
    model.load(["cat", "dog"], torch.device("cpu"))
    assert model.answer(Query(paths[::2])).prediction.tolist() == [1, 0]
    with pytest.raises(InputError, match="has no answer to sample"):
        model.answer(Query(paths))
