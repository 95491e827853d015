"""Find passwords after short options (`-p`) that mean a password to certain programs only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from remediation.system.secret_names import USER_OPTIONS, is_secret_option

# A pattern for the names of the programs, a required further word, the option, and whether the password is attached
# to it or follows it. See the manual pages of mysql(1), sshpass(1), redis-cli(1), ldapsearch(1) and so on.
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
# Programs whose arguments end with another command, which has its own options.
_STARTERS = ("sshpass",)

_COMMAND = re.compile(rf"(?<![\w.\-])(?P<name>{_PROGRAMS})(?![\w.\-])(?P<rest>[^\r\n|;&]*)")
_WORD = re.compile(r"[^\s,'\"\[\]]+")
_QUOTES = ("'", '"', "`")
# An option with the separator before the next word, in a shell or in a list, and that word's quote.
_OPTION = re.compile(
    r"""(?<![^\s'"`,\[])(?P<option>-[A-Za-z][^\s'"`,\]\\]*)"""
    r"""(?P<gap>\\*["'`]?,?[ \t]{1,8}|\\*["'`],(?=\\*["'`]))?"""
    r"""(?P<quote>\\*["'`])?"""
)
_UNTIL = {quote: re.compile(rf"[^{quote}\r\n]*") for quote in _QUOTES}
_BARE = re.compile(r"[^\s'\"`,|;&<>()\]]*")


def passwords_of_programs(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of such passwords in a text with commands, written as in a shell or as a list."""
    for command in _COMMAND.finditer(text):
        rest, begin = command["rest"], command.start("rest")
        options = _options(command["name"], _WORD.findall(rest))
        for match in _OPTION.finditer(rest) if options else ():
            if span := _password_span(rest, match, options):
                yield begin + span[0], begin + span[1]
                if command["name"] in _STARTERS:
                    break


def passwords_in(words: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield the index of each word of a command with such a password, and where in the word it begins."""
    for index, word in enumerate(words):
        program, rest = word.rpartition("/")[2], words[index + 1 :]
        if not (options := _options(program, rest)):
            continue
        for number, argument in enumerate(rest, start=index + 1):
            after = words[number + 1] if number + 1 < len(words) else ""
            prefix = next((option for option in options if argument.startswith(option) and argument != option), "")
            if "after" in options.get(argument, ()) and _is_password(argument, after):
                yield number + 1, 0
            elif "at" in options.get(prefix, ()) and _is_password(prefix, argument[len(prefix) :]):
                yield number, len(prefix)
            else:
                continue
            if program in _STARTERS:
                break


def _options(program: str, rest: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the password options of a program with these arguments, and the places of their passwords."""
    words = set(rest)
    return {
        option: places
        for programs, word, option, places in _PASSWORD_OPTIONS
        if re.fullmatch(programs, program) and (not word or word in words)
    }


def _password_span(text: str, match: re.Match[str], options: Mapping[str, Sequence[str]]) -> tuple[int, int] | None:
    """Return the span of the password at or after an option, or None if there is none."""
    word, begin = match["option"], match.end()
    is_quoted = text[max(0, match.start() - 1) : match.start()] in _QUOTES
    for option, places in options.items():
        if word != option and word.startswith(option) and "at" in places:
            begin, end = match.start() + len(option), match.end("option")
        elif word == option and (("after" in places) if match["gap"] else ("at" in places and not is_quoted)):
            until = _UNTIL[match["quote"][-1]] if match["quote"] else _BARE
            value = until.match(text, begin)
            end = value.end() if value else begin
            while match["quote"] and end > begin and text[end - 1] == "\\":
                end -= 1
        else:
            continue
        return (begin, end) if _is_password(option, text[begin:end]) else None
    return None


def _is_password(option: str, value: str) -> bool:
    """Return whether the value of an option is a password, not just a user or another option."""
    if option in USER_OPTIONS:
        return is_secret_option(option, value)
    return bool(value) and not value.startswith("-")
