"""Small harms to a JSON file that leave most of it valid, so that what lies behind the syntax is reached."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from random import Random

HOSTILE: Final = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 10**18, -(10**18), 10**400, 0.5, 1e308, -1e308, 5e-324),
    *(float("nan"), float("inf"), "", "a", "\0", "\ud800", "../../etc/passwd", "/etc/passwd", "a" * 5000),
    *([], {}, [[]], [None], {"": None}, [0] * 300, "<f8", "|O", "uV", "-0", "１", "1e400"),
)
"""What parsers trip over."""


def mutate(data: bytes, random: Random) -> bytes:
    """Change a JSON text in one to four places; what is no JSON object or list comes back as it is."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return data
    if not isinstance(tree, dict | list):
        return data
    for _ in range(random.randint(1, 4)):
        _harm(tree, random)
    try:
        text = json.dumps(tree)
    except (ValueError, RecursionError):
        return data
    if random.random() < 0.05:
        # A key given twice: the last one counts.
        text = text.replace("{", '{"file": 1, "key": [], ', 1)
    return text.encode("utf-8", errors="surrogatepass")


def _harm(tree: Any, random: Random) -> None:
    """Walk to a random place and replace, remove, double, rename or nest what is there."""
    place = tree
    while True:
        names = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not names:
            break
        name = random.choice(names)
        if isinstance(place[name], dict | list) and place[name] and random.random() < 0.8:
            place = place[name]
            continue
        break
    if not names:
        return
    match random.randrange(6):
        case 0 | 1:
            place[name] = deepcopy(random.choice(HOSTILE))
        case 2:
            del place[name]
        case 3 if isinstance(place, dict):
            place[random.choice(("file", "a", "", name.upper()))] = place[name]
        case 3:
            place.append(place[name])
        case 4:
            place[name] = [place[name]] * random.randint(1, 3)
        case 5:
            place[name] = {"a": place[name]}
