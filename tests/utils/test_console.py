"""What is printed is what was said."""

from pathlib import Path

from kcm_lightning.utils.console import say
from kcm_lightning.utils.image_io import shown
from kcm_lightning.utils.tables import print_table

ODD = "runs/[/red]/[bold]x[/]/:smile:/a]b["


def test_brackets_and_colons_of_a_path_are_printed_as_they_are(capsys):
    say(f"results: {ODD}\nsecond line")
    assert capsys.readouterr().out == f"results: {ODD}\nsecond line\n"


def test_a_table_prints_brackets(capsys):
    print_table([ODD, "[/i]"], [["[/]", "1.00"], [ODD, "[b]2[/b]"]], title=f"{ODD}, 5 test samples")
    printed = capsys.readouterr().out
    assert printed.count(ODD) == 3 and "[/i]" in printed and "[b]2[/b]" in printed


def test_letters_that_no_terminal_takes(capsys):
    say(f"{shown(Path('a') / chr(0xDCFF))} and \ud800")
    assert capsys.readouterr().out == "a/\ufffd and ?\n"
