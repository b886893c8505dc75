"""A paper card as its sections, and its links as seen from another folder."""

from __future__ import annotations

import re
from collections.abc import Callable

LINK = re.compile(r"(?<!!)\[([^\]\n]+)\]\(([^)\s]+)\)")
GENERATED = re.compile(r"<!-- (\w+) -->.*?<!-- /\1 -->\n?", re.DOTALL)


def sections(text: str) -> dict[str, str]:
    r"""Split a card at its second-level headings; what stands before the first has the key "".

    Examples
    --------
    >>> sections("# Title\nThe idea.\n\n## Use it\nSo.\n")
    {'': '# Title\nThe idea.', 'Use it': 'So.'}
    """
    found: dict[str, list[str]] = {"": []}
    name, fenced = "", False
    for line in text.splitlines():
        fenced ^= line.lstrip().startswith("```")
        if line.startswith("## ") and not fenced:
            name = line[3:].strip()
            found[name] = []
        else:
            found[name].append(line)
    return {name: "\n".join(lines).strip() for name, lines in found.items()}


def without_generated(text: str) -> str:
    r"""Leave out the blocks that a command writes, such as the scorecard.

    Examples
    --------
    >>> without_generated("a\n<!-- verdicts -->\n| x |\n<!-- /verdicts -->\nb")
    'a\nb'
    """
    return GENERATED.sub("", text)


def relink(text: str, moved: Callable[[str], str]) -> str:
    """Give relative links another target; one that becomes empty leaves its text.

    Examples
    --------
    >>> relink("see [the recipe](make.py) and [it](https://example.org)", lambda link: "")
    'see the recipe and [it](https://example.org)'
    """

    def replace(match: re.Match[str]) -> str:
        words, link = match.groups()
        if re.match(r"[a-z]+:|#", link):
            return match[0]
        goal = moved(link)
        return f"[{words}]({goal})" if goal else words

    return LINK.sub(replace, text)
