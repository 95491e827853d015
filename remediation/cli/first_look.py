"""The first look at a service: who listens, what answers, and the declared checks that fit it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from remediation.config.model import Service
from remediation.engines import adoption, engine_of, ownership
from remediation.messages.message import Message
from remediation.messages.words import Words
from remediation.probes.discovery import Remark, Sight
from remediation.state.service_state import Store
from remediation.system.process import introduce

# How many processes to name of those that listen, and how many characters of an answer to show.
_NAMED, _SHOWN = 3, 60
_REMARKS = {
    Remark.SICK: "init_sick",
    Remark.DOUBTFUL: "init_doubtful",
    Remark.GUARDED: "init_guarded",
    Remark.LOGIN: "init_login",
    Remark.REDIRECT: "init_redirect",
    Remark.NO_PATH: "init_no_path",
    Remark.NO_HTTP: "init_no_http",
    Remark.TLS: "init_tls",
}


def listeners(service: Service, say: Words) -> Iterator[str]:
    """Yield who listens at the address of a service on this machine; nothing if nobody does."""
    address = service.address
    if address is None or not address.endpoint.is_local():
        return
    holders = ownership.holders(address.endpoint.listeners())
    names = [*map(introduce, adoption.main_listeners(holders)[:_NAMED])]
    if None in holders:
        names.append(Message("somebody", {}).render(say.language, named=True))
    if names:
        yield say("init_listens", url=address, holder=names)


def described(service: Service, sight: Sight, say: Words) -> Iterator[str]:
    """Yield what a service answered, and what that means for its checks."""
    if sight.remark is Remark.SILENT:
        yield say("init_silent", url=service.address, problem=sight.problem)
    if sight.path and sight.problem:
        yield say("init_unanswered", path=sight.path, problem=sight.problem)
    if answer := sight.answer:
        body = " ".join(answer.body.decode(errors="backslashreplace").split())
        start = body if len(body) <= _SHOWN else f"{body[:_SHOWN]}..."
        kind = answer.content_type.partition(";")[0].strip()
        key = "init_answers_empty" if not body else "init_answers" if kind else "init_answers_untyped"
        yield say(key, path=sight.path, status=answer.status, kind=kind, start=start)
    if key := _REMARKS.get(sight.remark, ""):
        # A query may hold a token.
        place = sight.answer.location.partition("?")[0] if sight.answer else ""
        yield say(key, problem=sight.problem, place=place)


def keys(service: Service, sight: Sight | None, asked: Mapping[str, object]) -> dict[str, object]:
    """Return the keys of the service's table, with checks that pass on what was seen."""
    values, checks = dict(asked), list[dict[str, object]]()
    path = service.ready if service.ready.startswith("/") else None
    if sight and sight.remark is Remark.SILENT and path:
        checks.append({"get": path})
    elif sight:
        values["ready"] = asked.get("ready") if asked.get("ready") == "tcp" else sight.ready
        if sight.expected:
            checks.append(sight.expected)
        else:
            checks.append({"tcp": True})
    if "command" in asked:
        checks.append({"process": True})
    return values | ({"checks": checks} if checks else {})


def misfit(service: Service, store: Store, say: Words) -> str | None:
    """Return why the command of a service would not start what answers now; None if it would, or nothing answers."""
    engine = engine_of(service)
    if problem := engine.out_of_reach():
        return problem.message.render(say.language, named=True)
    stranger = engine.stranger(store.recall(service))
    if stranger is None:
        return None
    return say("init_strangers" if stranger.key == "strangers" else "init_stranger", **stranger.values)
