"""Programs that take a password by an option of a letter or two, which means something else to all others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from remediation.system.secret_names import USER_OPTIONS, is_secret_option

# By what pattern they are called, with which further word, which option, and whether the password stands at it or
# after it, as the manual pages of mysql(1), sshpass(1), redis-cli(1), ldapsearch(1) and so on have it.
_PASSWORD_OPTIONS = (
    (r"mysql\w*|mariadb(?:-\w+)?|mycli|7z[ar]?|unrar", "", "-p", ("at",)),
    (r"sshpass|rabbitmqadmin|mongo(?:sh|dump|restore|export|import|stat|top)?", "", "-p", ("at", "after")),
    (r"docker|podman|nerdctl|helm|oc|az", "login", "-p", ("at", "after")),
    (r"zip|unzip|sqlcmd|bcp|ipmitool|mosquitto_\w+", "", "-P", ("at", "after")),
    (r"redis-cli|valkey-cli|keydb-cli", "", "-a", ("after",)),
    (r"ldap(?:search|add|modify|delete|passwd|whoami|modrdn|compare)", "", "-w", ("at", "after")),
    (r"plink|pscp|psftp", "", "-pw", ("after",)),
    (r"curl", "", "-u", ("at",)),
)
_PROGRAMS = "|".join(programs for programs, *_ in _PASSWORD_OPTIONS)
# Of these, another command follows, with options of its own.
_STARTERS = ("sshpass",)

_COMMAND = re.compile(rf"(?<![\w.\-])(?P<name>{_PROGRAMS})(?![\w.\-])(?P<rest>[^\r\n|;&]*)")
_WORD = re.compile(r"[^\s,'\"\[\]]+")
_QUOTES = ("'", '"', "`")
# With what stands between it and the next word, in a shell or in a list, and with that word.
_OPTION = re.compile(
    r"""(?<![^\s'"`,\[])(?P<option>-[A-Za-z][^\s'"`,\]\\]*)"""
    r"""(?P<gap>\\*["'`]?,?[ \t]{1,8}|\\*["'`],(?=\\*["'`]))?"""
    r"""(?P<quote>\\*["'`])?"""
)
_UNTIL = {quote: re.compile(rf"[^{quote}\r\n]*") for quote in _QUOTES}
_BARE = re.compile(r"[^\s'\"`,|;&<>()\]]*")


def passwords_of_programs(text: str) -> Iterator[tuple[int, int]]:
    """Yield where such passwords begin and end in a text with commands, as a shell or a list has them."""
    for command in _COMMAND.finditer(text):
        rest, begin = command["rest"], command.start("rest")
        options = _options(command["name"], _WORD.findall(rest))
        for found in _OPTION.finditer(rest) if options else ():
            if place := _place(rest, found, options):
                yield begin + place[0], begin + place[1]
                if command["name"] in _STARTERS:
                    break


def passwords_in(words: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield which words of a command hold such passwords, and where in the word each begins."""
    for place, word in enumerate(words):
        program, rest = word.rpartition("/")[2], words[place + 1 :]
        if not (options := _options(program, rest)):
            continue
        for number, option in enumerate(rest, start=place + 1):
            after = words[number + 1] if number + 1 < len(words) else ""
            glued = next((one for one in options if option.startswith(one) and option != one), "")
            if "after" in options.get(option, ()) and _is_password(option, after):
                yield number + 1, 0
            elif "at" in options.get(glued, ()) and _is_password(glued, option[len(glued) :]):
                yield number, len(glued)
            else:
                continue
            if program in _STARTERS:
                break


def _options(program: str, rest: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the options by which a program, with the words after it, is given a password, and where that stands."""
    words = set(rest)
    return {
        option: places
        for programs, word, option, places in _PASSWORD_OPTIONS
        if re.fullmatch(programs, program) and (not word or word in words)
    }


def _place(text: str, found: re.Match[str], options: Mapping[str, Sequence[str]]) -> tuple[int, int] | None:
    """Return where the password at or after an option begins and ends, or None if there is none."""
    word, begin = found["option"], found.end()
    is_quoted = text[max(0, found.start() - 1) : found.start()] in _QUOTES
    for option, places in options.items():
        if word != option and word.startswith(option) and "at" in places:
            begin, end = found.start() + len(option), found.end("option")
        elif word == option and (("after" in places) if found["gap"] else ("at" in places and not is_quoted)):
            until = _UNTIL[found["quote"][-1]] if found["quote"] else _BARE
            value = until.match(text, begin)
            end = value.end() if value else begin
            while found["quote"] and end > begin and text[end - 1] == "\\":
                end -= 1
        else:
            continue
        return (begin, end) if _is_password(option, text[begin:end]) else None
    return None


def _is_password(option: str, value: str) -> bool:
    """Return whether what stands at an option is a password, and not a user alone or another option."""
    if option in USER_OPTIONS:
        return is_secret_option(option, value)
    return bool(value) and not value.startswith("-")
