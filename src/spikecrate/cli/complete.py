"""Completion of commands, options and values in the user's shell."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Final

from spikecrate.cli.command import ALIASES, COMMANDS, Command, command
from spikecrate.cli.option import Option, Words
from spikecrate.cli.text import say
from spikecrate.errors import OutputError, SpikecrateError, UsageError

SCRIPTS: Final = {
    "bash": """_spikecrate() {
    mapfile -t COMPREPLY < <(spikecrate --complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _spikecrate spikecrate
""",
    "zsh": """#compdef spikecrate
_spikecrate() {
    local -a found
    found=("${(@f)$(spikecrate --complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    [[ -n "$found" ]] && compadd -a found || _files
}
compdef _spikecrate spikecrate
""",
    "fish": """complete -c spikecrate -a '(spikecrate --complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
""",
}
PLACES: Final = {
    "bash": ".local/share/bash-completion/completions/spikecrate",
    "zsh": ".local/share/zsh/site-functions/_spikecrate",
    "fish": ".config/fish/completions/spikecrate.fish",
}


@command("completion", "this machine")
def completion(
    action: Annotated[str, Words(one_of=("install", "print"))],
    shell: Annotated[str, Words(choices=lambda: SCRIPTS)] = "",
) -> None:
    """Complete commands, options and values in your shell.

    Parameters
    ----------
    action : ACTION
        what to do with the script
    shell : bash|zsh|fish
        by default the one of $SHELL; example: zsh

    Examples
    --------
    spikecrate completion install
    spikecrate completion print --shell zsh
    """
    chosen = shell or Path(os.environ.get("SHELL", "bash")).name
    if chosen not in SCRIPTS:
        message = f"there is no completion for {chosen!r}"
        raise UsageError(message, next_step=f"--shell {' | '.join(SCRIPTS)}")
    if action == "print":
        say(SCRIPTS[chosen].rstrip("\n"))
        return
    path = Path.home() / PLACES[chosen]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SCRIPTS[chosen], encoding="utf-8")
    except OSError as error:
        message = f"{path}: {error.strerror}"
        advice = "spikecrate completion print, and put it in a place of yours"
        raise OutputError(message, next_step=advice) from None
    say(f"completion is installed in {path}; it works in a new shell")
    if chosen == "zsh":
        say(f"zsh needs in .zshrc, before compinit: fpath+=({path.parent})")


def candidates(words: Sequence[str]) -> list[str]:
    """Return the candidates for the last word.

    Parameters
    ----------
    words : sequence of str
        The words after `spikecrate`; the last is incomplete and may be empty.

    Returns
    -------
    list of str
    """
    *before, word = words or [""]
    named = next((at for at, given in enumerate(before) if not given.startswith("-")), None)
    if named is None:
        known: Iterable[str] = ("--help", "--version") if word.startswith("-") else (*COMMANDS, *ALIASES)
    else:
        found = COMMANDS.get(ALIASES.get(before[named], before[named]))
        known = () if found is None else _of_command(found, before[named + 1 :], word)
    return [name for name in known if name.startswith(word)]


def _of_command(found: Command, before: Sequence[str], word: str) -> Iterable[str]:
    flags = {option.flag: option for option in found.options if not option.is_positional}
    last = flags.get(before[-1]) if before else None
    if last is not None and last.kind is not bool:
        return _values(last)
    if word.startswith("-"):
        return ["--help", *flags]
    positionals = [option for option in found.options if option.is_positional]
    given = sum(not earlier.startswith("-") for earlier in before)
    return _values(positionals[min(given, len(positionals) - 1)]) if positionals else ()


def _values(option: Option) -> Iterable[str]:
    try:
        return option.words.known()
    except (SpikecrateError, OSError):
        # A broken sorter or a store of another user's is no reason to disturb somebody who types.
        return ()
