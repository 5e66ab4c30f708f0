"""Options of every command that runs a step: parameters of its tool, where it runs, and limits."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from spikecrate.catalogue.parameters import parse_assignments
from spikecrate.catalogue.tools import find
from spikecrate.cli.choices import Memory, Runtime, Time
from spikecrate.errors import ParameterValueError

Read = TypeVar("Read", dict[str, Any], list[Any])


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of every command that runs a tool.

    Attributes
    ----------
    param : NAME=VALUE
        one parameter; spikecrate sorters.show lists them; example: NAME=VALUE
    params : FILE
        a JSON file of parameters; --param wins over it; example: mine.json
    runtime : RUNTIME
        where to run; auto takes the first that this machine has; example: docker
    cores : N
        processors; by default all that this process may use; example: 4
    memory : SIZE
        memory limit; by default none; example: 8G
    timeout : TIME
        time limit; by default none; example: 2h
    seed : N
        seed of the random generators; part of the job key; example: 1
    force : flag
        run the job despite a cache hit, and replace the result
    """

    param: list[str] | None = None
    params: str = ""
    runtime: Runtime = "auto"
    cores: int | None = None
    memory: Memory | None = None
    timeout: Time | None = None
    seed: int = 0
    force: bool = False

    def fields(self, tool: str) -> dict[str, Any]:
        """Return what a request for a step takes.

        Parameters
        ----------
        tool : str
            Name of the tool, whose parameters are assigned.

        Returns
        -------
        dict
            `params`, `runtime`, `cores`, `memory_bytes`, `timeout_s`, `seed` and `force`.

        Raises
        ------
        ParameterValueError, SorterNotFoundError
            An option is not valid; the message names it.
        """
        given = parse_assignments(find(tool), self.param or [])
        return {
            "params": {**read_parameters(self.params), **given},
            "runtime": self.runtime,
            "cores": self.cores,
            "memory_bytes": self.memory,
            "timeout_s": self.timeout,
            "seed": self.seed,
            "force": self.force,
        }


@dataclass(frozen=True, kw_only=True)
class StepOptions(RunOptions):
    """Options of a command that runs a step other than a sorter's.

    Attributes
    ----------
    output : DIR
        folder for a copy of the result; by default it stays in the store; example: result/
    """

    output: str = ""

    def fields(self, tool: str) -> dict[str, Any]:
        """Return what the public call of the step takes: the fields of a request, and `output`.

        Parameters
        ----------
        tool : str
            Name of the tool.

        Returns
        -------
        dict
        """
        return {**super().fields(tool), "output": self.output or None}


def read_parameters(path: str) -> dict[str, Any]:
    """Read a file of parameters, a JSON object.

    Parameters
    ----------
    path : str
        The file; empty for no parameters.

    Returns
    -------
    dict

    Raises
    ------
    ParameterValueError
        The file cannot be read; the message names it.
    """
    return read_json_file("params", path, dict, '{"detect_threshold": 4}') if path else {}


def read_json_file(option: str, path: str, kind: type[Read], example: str) -> Read:
    """Read the JSON file that an option names.

    Parameters
    ----------
    option : str
        Name of the option.
    path : str
        The file.
    kind : type
        `dict` or `list`: what the file must hold.
    example : str
        The contents of such a file, for the next step.

    Returns
    -------
    dict or list

    Raises
    ------
    ParameterValueError
        The file cannot be read, or holds something else; the message names it.
    """
    expected = {dict: "an object", list: "a list"}[kind]
    try:
        found = json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        message = f"--{option} {path}: {error}"
        raise ParameterValueError(message, next_step=f"give a JSON file with {expected}: {example}") from None
    if not isinstance(found, kind):
        message = f"--{option} {path} does not hold {expected}"
        raise ParameterValueError(message, next_step=f"write it as {example}")
    return found
