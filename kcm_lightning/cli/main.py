"""The commands: `python -m kcm_lightning COMMAND --config ...`, `report FOLDER ...`,
`cost FOLDER`, `monitor FOLDER`, `new`, `import LOG ...` and `sweep FILE`.

What a command needs is imported once it is known: torch and Lightning take seconds.
"""

import errno
import os
import shlex
import signal
import sys
from pathlib import Path

from kcm_lightning.cli.configs import check_configs, find_config, find_configs, list_configs
from kcm_lightning.cli.overview import OTHERS, WITH_CONFIG, check_command, command_page, overview, version
from kcm_lightning.cli.process_settings import keep_freed_memory, silence_noise
from kcm_lightning.utils.console import PROGRAM, wrapped
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.renamed_options import check_words
from kcm_lightning.utils.signals import StopSignal, stopped_by_signals


def main(args: list[str] | None = None) -> None:
    """Runs a command.

    Args:
        args: the words after the program's name; None for those of the process.
    """
    given = sys.argv[1:] if args is None else args
    with stopped_by_signals() as stop:
        status = _status_of(given, stop)
    if status:
        sys.exit(status)


def _status_of(given: list[str], stop: StopSignal) -> int:
    """Runs a command and returns its exit status; says in a line why it is no success."""
    try:
        status = _run(given)
        return status if stop.number is None else stop.status
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        if stop.number is None:
            return 2
    except BaseException as error:
        if _is_termination(error):  # of itself it would end as a success
            stop.number = stop.number or signal.SIGTERM
        if stop.number is None and (reason := _no_room(error)):
            print(f"error: {reason}: make room. To go on: {to_go_on(given)}", file=sys.stderr)
            return 2
        if stop.number is None:
            raise
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(f"{stop}: what was done is kept. To go on: {to_go_on(given)}", file=sys.stderr)
    return stop.status


def _run(given: list[str]) -> int:
    if not given or given[0] in ("-h", "--help"):
        print(overview(), end="")
        return 0
    if given[0] == "--version":
        print(version(), end="")
        return 0
    check_command(given)
    if given[0] == "configs":
        return _configs(given[1:])
    if given[0] in WITH_CONFIG and not {"-h", "--help"}.isdisjoint(given):
        print(command_page(given[0]), end="")
        return 0
    words = find_configs(given)
    check_words(words)
    to_own_input = words[0] == "predict" and any(word.split("=")[0] == "--input" for word in words)
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(f"kcm_lightning {given[0]}: loading PyTorch", file=sys.stderr, flush=True)
    check_configs(words)
    if words[0] in OTHERS:
        from kcm_lightning.cli import report_and_sweep as others

        run = {"report": others.run_report, "cost": others.run_cost, "monitor": others.run_monitor}
        run |= {"sweep": others.run_sweep, "import": others.run_import, "new": others.run_new}
        return run[words[0]](words[1:])
    if to_own_input:
        from kcm_lightning.cli.predict_input import run_predict_input

        silence_noise()
        return run_predict_input(words[1:])
    if any(".help" in word for word in words):
        from kcm_lightning.cli.class_help import class_help

        if page := class_help(words):
            print(page, end="")
            return 0
    from kcm_lightning.cli.kcm_cli import run_command
    from kcm_lightning.cli.parser import read_none_as_null, write_choices_by_value

    keep_freed_memory()
    silence_noise()
    read_none_as_null()
    write_choices_by_value()
    run_command(words)
    return 0


def _configs(words: list[str]) -> int:
    """Lists the shipped configurations, or prints one."""
    usage = f"{PROGRAM} configs lists the shipped configurations, `configs show NAME` prints one"
    if words in (["-h"], ["--help"]):
        print(usage)
    elif words[:1] == ["show"] and len(words) == 2:
        name = words[1] if words[1].endswith(".yaml") else f"{words[1]}.yaml"
        print(find_config(name).read_text(encoding="utf-8"), end="")
    elif words == ["show"]:
        raise InputError(f"configs show needs a name, one of {', '.join(name for name, _ in list_configs())}")
    elif not words:
        shipped = list_configs()
        width = max(len(name) for name, _ in shipped) + 2
        for name, text in shipped:
            print("\n".join(wrapped(text, indent=width, first=name.ljust(width))))
        print(f"\nTo read one: {PROGRAM} configs show quickstart.yaml")
    else:
        raise InputError(usage)
    return 0


def _is_termination(error: BaseException) -> bool:
    """Whether an error is Lightning's word for SIGTERM."""
    exceptions = sys.modules.get("lightning.pytorch.utilities.exceptions")
    return exceptions is not None and isinstance(error, exceptions.SIGTERMException)


def _no_room(error: BaseException | None) -> str | None:
    """What cannot be written since the disk is full, where an error comes of that."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return f"{error.filename or 'a file'} cannot be written ({error.strerror})"
        error = error.__cause__ or error.__context__
    return None


def to_go_on(given: list[str]) -> str:
    """The command that goes on where a command was stopped."""
    words = list(given)
    folder = Path(os.environ.get("KCM_RUN_FOLDER", ""))  # where a fresh `fit` writes
    fresh = words[:1] == ["fit"] and not any(word.startswith("--ckpt_path") for word in words)
    if fresh and (folder / "checkpoints" / "last.ckpt").is_file():
        named = any(word.split("=")[0] == "--run" for word in words)
        words += [*([] if named else ["--run", str(folder)]), "--ckpt_path", "last"]
    return shlex.join(["python", "-m", "kcm_lightning", *words])
