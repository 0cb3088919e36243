"""Tables in each format."""

from statistics import mean, stdev

from kcm_lightning.utils.tables import csv_table, latex_table, markdown_table, percent, spread

HEAD, ROWS = ["%", "KCM"], [["head", "1.00 ± 0.50"], ["a_b", "5 %"]]


def test_formats():
    assert (
        markdown_table(HEAD, ROWS) == "| % | KCM |\n| --- | ---: |\n| head | 1.00 ± 0.50 |\n| a_b | 5 % |\n"
    )
    assert csv_table(HEAD, [["a,b", "1"]]) == '%,KCM\n"a,b",1\n'
    latex = latex_table(HEAD, ROWS)
    assert r"\begin{tabular}{lr}" in latex and r"a\_b & 5 \% \\" in latex and r"1.00 $\pm$ 0.50" in latex


def test_figures():
    assert percent(0.12345) == "12.35" and percent(None) == "-"
    assert spread([0.1, None, 0.3]) == f"{mean([10, 30]):.2f} ± {stdev([10, 30]):.2f}"
    assert spread([None]) == "-" and spread([0.5]) == "50.00"


def test_signs_that_mean_something_to_a_format():
    row = ["a|b", "{$x^2$}~\\"]
    assert markdown_table(["m", "n"], [row]).splitlines()[2] == r"| a\|b | {$x^2$}~\ |"
    assert r"a|b & \{\$x\^{}2\$\}\~{}\textbackslash{} \\" in latex_table(["m", "n"], [row])
