"""Fields of a JSON object in a file of a recording, checked for presence, type and range."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NoReturn

from spikecrate.errors import RecordingFormatError

if TYPE_CHECKING:
    from pathlib import Path

REQUIRED: Final = object()
SHOWN: Final = 60


class Fields:
    """A JSON object, its file and its place in the file.

    Parameters
    ----------
    data : object
        Content of the file; anything but an object is refused.
    path : Path
        The file.
    place : str
        Where in the file, for messages: "" for the top, "continuous[0]." further in.

    Raises
    ------
    RecordingFormatError
        Here, if `data` is not an object; in every method, if the field is missing, of another type, or out of
        its range. The message names the file, the field and the value.
    """

    def __init__(self, data: Any, path: Path, place: str = "") -> None:
        if not isinstance(data, dict):
            where = f"{path}: {place.rstrip('.')}" if place else str(path)
            message = f"{where}: expected a JSON object, got {shown(data)}"
            raise RecordingFormatError(message, next_step="correct the file")
        self.data: dict[str, Any] = data
        self.path = path
        self.place = place

    def text(self, name: str, default: Any = REQUIRED) -> str:
        """Return a text.

        Parameters
        ----------
        name : str
            The field.
        default : object, optional
            Returned where the field is missing; by default it must exist.

        Returns
        -------
        str
        """
        value = self._value(name, default)
        if not isinstance(value, str):
            self._refuse(name, "a text", value)
        return value

    def number(self, name: str, default: Any = REQUIRED, *, positive: bool = True) -> float:
        """Return a finite number.

        Parameters
        ----------
        name, default
            As in `text`.
        positive : bool
            Whether it must be above 0; by default it must.

        Returns
        -------
        float
        """
        wanted = "a number above 0" if positive else "a number"
        value = self._value(name, default)
        number = self._number(value)
        if number is None or (positive and number <= 0):
            self._refuse(name, wanted, value)
        return number

    def whole(self, name: str, default: Any = REQUIRED, *, most: int | None = None) -> int:
        """Return a whole number, 0 or more.

        Parameters
        ----------
        name, default
            As in `text`.
        most : int, optional
            The largest number that fits.

        Returns
        -------
        int
        """
        value = self._value(name, default)
        number = self._number(value)
        if number is None or not number.is_integer() or number < 0 or (most is not None and number > most):
            self._refuse(name, f"a whole number, {f'0 to {most}' if most else '0 or more'}", value)
        return int(number)

    def items(self, name: str, default: Any = REQUIRED) -> list[Any]:
        """Return a list.

        Parameters
        ----------
        name, default
            As in `text`.

        Returns
        -------
        list
            JSON values.
        """
        value = self._value(name, default)
        if not isinstance(value, list):
            self._refuse(name, "a list", value)
        return value

    def objects(self, name: str) -> list[Fields]:
        """Return a list of objects.

        Parameters
        ----------
        name : str
            The field; it must exist.

        Returns
        -------
        list of Fields
        """
        return [
            Fields(value, self.path, f"{self.place}{name}[{index}].")
            for index, value in enumerate(self.items(name))
        ]

    def inner(self, name: str) -> Fields:
        """Return an object.

        Parameters
        ----------
        name : str
            The field; it must exist.

        Returns
        -------
        Fields
        """
        return Fields(self._value(name, REQUIRED), self.path, f"{self.place}{name}.")

    def refuse(self, name: str, problem: str, *, next_step: str = "") -> NoReturn:
        """Raise the error for a field whose value does not fit.

        Parameters
        ----------
        name : str
            The field.
        problem : str
            Why its value does not fit.
        next_step : str
            By default to correct the field.

        Raises
        ------
        RecordingFormatError
            Always.
        """
        message = f"{self.path}: {self.place}{name}: {problem}"
        raise RecordingFormatError(
            message,
            next_step=next_step or f"correct {self.place}{name} in {self.path.name}",
            details={"file": str(self.path), "field": f"{self.place}{name}"},
        )

    def _number(self, value: Any) -> float | None:
        """Return a field's value as a number, None where it is none."""
        return as_number(value)

    def _value(self, name: str, default: Any) -> Any:
        value = self.data.get(name, default)
        if value is REQUIRED:
            self.refuse(name, "missing", next_step=f"add {self.place}{name} to {self.path.name}")
        return value

    def _refuse(self, name: str, wanted: str, value: Any) -> NoReturn:
        self.refuse(name, f"expected {wanted}, got {shown(value)}")


def as_number(value: Any) -> float | None:
    """Return a JSON number as a float, or None for anything else, infinity and NaN included.

    Parameters
    ----------
    value : object
        A JSON value.

    Returns
    -------
    float or None

    Examples
    --------
    >>> as_number(3), as_number(True), as_number("3"), as_number(float("nan"))
    (3.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def number_in(text: str) -> float | None:
    """Return the number that a text holds, or None for anything else, infinity and NaN included.

    Parameters
    ----------
    text : str
        The number as text.

    Returns
    -------
    float or None

    Examples
    --------
    >>> number_in("1.5"), number_in("inf"), number_in("x")
    (1.5, None, None)
    """
    try:
        return as_number(float(text))
    except ValueError:
        return None


def as_numbers(values: Any) -> tuple[float, ...] | None:
    """Return a JSON list of numbers as floats, or None for anything else.

    Parameters
    ----------
    values : object
        A JSON value.

    Returns
    -------
    tuple of float, or None

    Examples
    --------
    >>> as_numbers([3, 0.5]), as_numbers([3, "a"]), as_numbers(3)
    ((3.0, 0.5), None, None)
    """
    if not isinstance(values, list):
        return None
    numbers = tuple(number for value in values if (number := as_number(value)) is not None)
    return numbers if len(numbers) == len(values) else None


def shown(value: Any) -> str:
    """Return a value as text for a message, shortened to 60 characters.

    Parameters
    ----------
    value : object
        Any value.

    Returns
    -------
    str
    """
    try:
        text = repr(value)
    except RecursionError:
        text = f"a {type(value).__name__} nested too deeply"
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."
