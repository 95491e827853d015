"""The configuration of a project: its services, and how each may be healed.

msgspec decodes the file straight into these structs, so each key has its type, bounds and default here and nowhere
else. Of the validating libraries tried, msgspec adds the least to the start of every run (4 ms after pytest itself;
the next one adds twice that).
"""

from __future__ import annotations

import os
import re
import shlex
from base64 import b64encode
from collections.abc import Container, Mapping, Sequence
from graphlib import TopologicalSorter
from pathlib import Path
from pwd import getpwnam, struct_passwd
from signal import Signals
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal
from urllib.parse import unquote, urlsplit

from msgspec import UNSET, Meta, Struct, UnsetType, field
from msgspec.structs import force_setattr

from remediation.config.checks import Check
from remediation.config.errors import InvalidValueError
from remediation.config.fields import HTTP_PATH, LONGEST, NotNegative, Positive, Text
from remediation.system.secrets import redacted_words

if TYPE_CHECKING:
    from remediation.system.endpoints import Endpoint

Megabytes = Annotated[float, Meta(ge=1, le=LONGEST)]
FreePort = Literal["own", "user", "never"]
LogFormat = Literal["text", "json"]
Event = Literal["sick", "healed", "gave-up", "flapping"]

# The folder of our state, beside the configuration.
STATE_FOLDER = ".auto-heal"

# The name and the value of a header, RFC 9110 section 5.6.2 and 5.5, without the obsolete bytes above ASCII.
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"(?:[!-~](?:[ -~\t]*[!-~])?)?")
# Those that tell where a request ends, and what becomes of the connection.
_OWN_HEADERS = frozenset({"connection", "content-length", "transfer-encoding"})
# Those that say what is asked for and by what program, but not by whom.
_NO_CREDENTIALS = frozenset({"accept", "accept-encoding", "accept-language", "cache-control", "host", "user-agent"})
# A URL whose user and password hold nothing that ends them early, RFC 3986 section 3.2, so that they can be masked.
_ENCODED = re.compile(r"[^:/?#\s]+://[^/?#\s@]*@[^\s@]*")
# In bytes, without the final NUL, unix(7).
_LONGEST_SOCKET = 107
# What of a command a shell leaves as it is.
_QUOTED = re.compile(r"\\.|'[^']*'|\"(?:\\.|[^\"\\])*\"", re.DOTALL)
# What only a shell understands: a word that joins or redirects, what ends a command, and what it replaces.
_OPERATOR = re.compile(r"^(?:&&?|\|[|&]?|\d?[<>].*|&>.*)$|;|&$|\$(?:\w+|[({])|`|^~(?=$|/)")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_BUILTINS = frozenset({".", "cd", "exec", "export", "source", "ulimit", "umask"})
# The last part of the path of a page to log in by.
_LOGIN = re.compile(r"(?:wp-)?(?:log|sign)[-_]?in(?:\.\w+)?", re.IGNORECASE)
# What may follow `Bearer` in a header, RFC 6750 section 2.1.
_SHORTEST_TOKEN = 16
_TOKEN = re.compile(rf"[\w.~+/=-]{{{_SHORTEST_TOKEN},}}", re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}


def _words(words: Sequence[str] | str, key: str) -> tuple[str, ...]:
    """Return the program and the arguments of a command; empty if the file has no such key."""
    if words == ():
        return ()
    try:
        split = tuple(shlex.split(words) if isinstance(words, str) else words)
    except ValueError as error:
        raise InvalidValueError(f"cannot be split as a shell would: {error}", key) from None
    if isinstance(words, str) and (sign := _shell_syntax(words)):
        raise InvalidValueError(
            f"{sign} is for a shell, and no shell runs this; set cwd and env beside it, "
            'or start one: ["sh", "-c", "..."]',
            key,
        )
    if not split or not split[0].strip():
        raise InvalidValueError('is empty; give a program and its arguments, such as ["node", "index.js"]', key)
    return split


def _shell_syntax(command: str) -> str | None:
    """Return the first sign that a command was written for a shell; None if it has none outside quotes."""
    words = _QUOTED.sub("x", command).split()
    if words and _ASSIGNMENT.match(words[0]):
        return "NAME=value"
    if words and words[0] in _BUILTINS:
        return words[0]
    return next((sign[0] for word in words if (sign := _OPERATOR.search(word))), None)


class Budget(Struct, frozen=True):
    """`budget = { restarts = 5, window = 600 }`: the most restarts within a window of seconds."""

    derived: ClassVar[tuple[str, ...]] = ("calm",)
    restarts: Annotated[int, Meta(ge=0)] = 5
    window: Positive = 600.0
    calm: float = 600.0
    """The seconds without trouble after which the budget resets; longer than the interval between two checks."""


class HistoryLimits(Struct, frozen=True):
    """`history = { days = 90, megabytes = 100 }`: the greatest age and size of the history."""

    days: Positive = 90.0
    megabytes: Megabytes = 100.0


class EvidenceLimits(Struct, frozen=True):
    """`evidence = { timeout = 3, days = 30, megabytes = 100 }`: the limits of the evidence that heals leave."""

    timeout: NotNegative = 3.0
    """The seconds that a heal may spend on evidence before it acts; 0 collects none."""
    days: Positive = 30.0
    megabytes: Megabytes = 100.0


class LatencyLimits(Struct, frozen=True):
    """`latency = { calls = 5, factor = 2, margin = 0.05 }`: when a check counts as slower than before a deployment."""

    calls: Annotated[int, Meta(ge=1, le=1000)] = 5
    """The number of calls of a check on each side of a deployment."""
    factor: Annotated[float, Meta(ge=1, le=LONGEST)] = 2.0
    """A slower check takes at least this many times its previous latency."""
    margin: NotNegative = 0.05
    """A slower check also takes at least this many seconds more than before."""


class Notices(Struct, frozen=True):
    """`[tool.auto-heal.notify]`: the recipients of messages about incidents (apprise URLs), and the events to send."""

    urls: tuple[Text, ...] = ()
    on: tuple[Event, ...] = ("sick", "healed", "gave-up", "flapping")
    flap_window: Positive = 600.0
    """The seconds within which three incidents are flapping, and after which one that did not change is steady."""
    heartbeat: str = ""
    """Where the monitor says after each cycle that it is alive, by the convention of healthchecks.io."""

    def __post_init__(self) -> None:
        if not self.heartbeat:
            return
        try:
            parts = urlsplit(self.heartbeat)
            is_url = parts.scheme in _DEFAULT_PORTS and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_url = False
        # It is a secret, and so not quoted.
        if not is_url or parts.fragment or parts.username or not HTTP_PATH.fullmatch(f"/{self.heartbeat}"):
            raise InvalidValueError("is no URL such as https://hc-ping.com/UUID", "heartbeat")


class Limits(Struct, frozen=True):
    """`limits = { at_once = 10 }`: how much healing may do at the same time."""

    at_once: Annotated[int, Meta(ge=1, le=1000)] = 10
    """The most services that are healed at the same time, by all processes together."""


class LadderStep(Struct, frozen=True):
    """One step of the ladder: a reload, a hook of the project, or a restart, after a command if any.

    In the file it is "reload", "restart", or a table such as `{ run = ["npm", "ci"], timeout = 120 }` or
    `{ hook = "flush-cache" }`. Command and hook may take `timeout` seconds.
    """

    derived: ClassVar[tuple[str, ...]] = ("reloads",)
    run: CommandIfAny = UNSET  # type: ignore[assignment]
    timeout: Positive = 120.0
    hook: str = ""
    """What the hook auto_heal_step knows it by."""
    reloads: bool = False

    def __post_init__(self) -> None:
        has_command = self.run is not UNSET  # type: ignore[comparison-overlap]
        if not has_command and not self.hook:
            raise InvalidValueError("needs run, a command, or hook, the name of a step of the project's own", "")
        if has_command and self.run and self.hook:
            raise InvalidValueError("has both run and hook; make them two steps", "")
        force_setattr(self, "run", _words(self.run, "run") if has_command else ())

    @property
    def action(self) -> str:
        """The step as text for the report: `reload`, `restart` or `npm ci, restart`."""
        if self.reloads:
            return "reload"
        if self.hook:
            return f"hook {self.hook}"
        return ", ".join(filter(None, [" ".join(redacted_words(self.run)), "restart"]))


class Rollback(Struct, frozen=True):
    """The rollback to the previous deployment: a command, which may take `timeout` seconds, and then a restart.

    In the file it is the command, or a table such as `{ run = ["./rollback.sh"], timeout = 300, restart = false }`.
    """

    run: Command
    timeout: Positive = 120.0
    restart: bool = True

    def __post_init__(self) -> None:
        force_setattr(self, "run", _words(self.run, "run"))

    @property
    def action(self) -> str:
        """The rollback as text for the report."""
        return f"rollback by {' '.join(redacted_words(self.run))}"


class Version(Struct, frozen=True):
    """`version = { path = "/api/health", field = "build.version" }`: a path that returns JSON, and a field in it."""

    path: Text
    field: Text = "version"

    def __post_init__(self) -> None:
        if not HTTP_PATH.fullmatch(self.path):
            raise InvalidValueError(f'{self.path!r} is no path such as "/api/health"', "path")


class Address(Struct, frozen=True):
    """The address of a service. That of a Unix socket has its path as host, and port 0."""

    url: str
    scheme: str
    host: str
    port: int

    @property
    def socket(self) -> str | None:
        """The path of the Unix socket; None for a port."""
        return self.host if self.scheme == "unix" else None

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens."""
        from remediation.system.endpoints import TcpEndpoint, UnixEndpoint

        return UnixEndpoint(self.host) if self.socket else TcpEndpoint(self.host, self.port)

    @property
    def base_path(self) -> str:
        """The path that precedes that of each request."""
        return "" if self.socket else urlsplit(self.url).path

    @property
    def credentials(self) -> str | None:
        """User and password, joined by a colon; None if the URL has neither."""
        user_info, at, _ = urlsplit(self.url).netloc.rpartition("@")
        user, _, password = user_info.partition(":")
        return f"{unquote(user)}:{unquote(password)}" if at else None

    def __str__(self) -> str:
        """The address without a path or credentials, for messages."""
        return self.url if self.socket else f"{self.scheme}://{self.place}"

    @property
    def place(self) -> str:
        """Where a server has to listen: host and port, or the path of a Unix socket."""
        if self.socket:
            return self.socket
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


# Some values have one form in the file and another in use. msgspec calls `dec_hook` only for types that it does not
# support, and it supports tuples, enums and structs. So __post_init__ converts these values.
if TYPE_CHECKING:
    # The types of the fields once __post_init__ has run.
    Command = tuple[str, ...]
    CommandIfAny = tuple[str, ...]
    FilePath = Path
    Url = Address
    SignalName = Signals
    Ladder = tuple[LadderStep, ...]
    RollbackOrCommand = Rollback
    CommandOrSignal = tuple[str, ...] | Signals
else:
    # The types in the file, which msgspec decodes before __post_init__ runs.
    Command = list[str] | str
    CommandIfAny = list[str] | str | UnsetType
    FilePath = Text
    Url = Text
    SignalName = Text
    Ladder = Annotated[tuple[LadderStep | Literal["restart", "reload"], ...], Meta(min_length=1)]
    RollbackOrCommand = Rollback | list[str] | str
    CommandOrSignal = list[str] | str


class Service(Struct, frozen=True, kw_only=True):
    """`[tool.auto-heal.services.NAME]`: one service, with absolute paths and times in seconds.

    auto-heal starts `command` itself; `restart_command`, `start_command` and `stop_command` ask another program to
    do so. A service with neither is checked but never healed.
    """

    derived: ClassVar[tuple[str, ...]] = ("name", "root", "probe_timeout", "log_size", "evidence_timeout", "file_env")
    name: str
    root: Path
    """The folder of the configuration."""
    probe_timeout: float
    log_size: int
    evidence_timeout: float
    """The seconds that a heal may spend on evidence before it acts; 0 collects none."""
    file_env: Mapping[str, str] = {}
    """The variables in `env_file`."""

    command: Command = ()
    cwd: FilePath = Path()
    env: Mapping[str, str] = {}
    env_file: FilePath | None = None
    """A file of further variables, in the format of docker's --env-file; `env` takes precedence."""
    address: Url | None = field(name="url", default=None)
    ready: Text = ""
    """A path, "tcp" or "none"; the default is "tcp" with an address, otherwise "none"."""
    stop_signal: SignalName = Signals.SIGTERM
    stop_timeout: NotNegative = 10.0
    start_timeout: Positive = 30.0
    start_period: NotNegative = 0.0
    """The seconds after a start in which a failing check starts no heal."""
    restart_delay: Annotated[float, Meta(gt=0, le=60)] = 1.0
    """The seconds before the next try of a start that failed; the delay doubles with each try, up to a minute."""
    validate_command: Command = field(name="validate", default=())
    """A command that checks the service's own configuration before a running service is stopped."""
    reload: CommandOrSignal = ()
    """A command, or a signal for the main process, by which the service reads its configuration again."""
    pid_file: FilePath
    log_file: FilePath
    free_port: FreePort = "own"
    """Whose listener may be ended to free the port: the service's own, the same user's, or nobody's."""
    user: str = ""
    """The user as whom root starts the service; empty for the user who runs auto-heal."""
    depends_on: tuple[str, ...] = ()
    restart_command: Command = field(name="restart", default=())
    start_command: Command = field(name="start", default=())
    stop_command: Command = field(name="stop", default=())
    ladder: Ladder = (LadderStep(()),)
    rollback: RollbackOrCommand | None = None
    headers: Mapping[str, str] = {}
    """Headers of every request to the service: readiness, version and checks."""
    version: Version | None = None
    budget: Budget = Budget()
    evidence: Command = ()
    """A command that examines the failing process; `{pid}` stands for its PID."""
    verify: bool = True
    """Whether to verify the certificate of an https url."""
    ca_file: FilePath | None = None
    """The CA bundle that must have signed the certificate; None for the system's."""
    checks: tuple[Check, ...] = ()
    """The checks that need no Python."""

    def __post_init__(self) -> None:
        """Convert the values, and refuse combinations that contradict each other."""
        commands = ("command", "restart_command", "start_command", "stop_command", "validate_command", "evidence")
        for name in commands:
            force_setattr(self, name, _words(getattr(self, name), name.removesuffix("_command")))
        for name in ("cwd", "pid_file", "log_file"):
            force_setattr(self, name, self.root / getattr(self, name))
        for name in ("ca_file", "env_file"):
            if getattr(self, name) is not None:
                force_setattr(self, name, self.root / getattr(self, name))
        force_setattr(self, "address", self.address and address_of(self.address, self.root))
        force_setattr(self, "stop_signal", _signal(self.stop_signal))
        force_setattr(self, "ready", self.ready or ("tcp" if self.address else "none"))
        force_setattr(self, "reload", _command_or_signal(self.reload))
        force_setattr(self, "ladder", tuple(map(_ladder_step, self.ladder)))
        if self.rollback is not None and not isinstance(self.rollback, Rollback):
            force_setattr(self, "rollback", Rollback(_words(self.rollback, "rollback")))
        self._check()

    def _check(self) -> None:
        if self.command and (self.restart_command or self.start_command or self.stop_command):
            raise InvalidValueError("has both command and restart, start or stop; keep one way to run it", "")
        if (self.start_command or self.stop_command) and not self.restart_command:
            raise InvalidValueError("start and stop need restart beside them", "")
        for name in self.env:
            if not name or "=" in name:
                raise InvalidValueError("is no name of an environment variable", f"env.{name}")
        self._check_headers()
        if self.user:
            try:
                getpwnam(self.user)
            except KeyError:
                raise InvalidValueError(f"{self.user!r} is not a user of this machine", "user") from None
            if not self.command:
                raise InvalidValueError(
                    "needs command beside it: auto-heal gives a user only to what it starts", "user"
                )
        self._check_reload()
        self._check_ready()
        if self.version and (self.address is None or self.address.scheme == "tcp"):
            raise InvalidValueError("needs an http or https url, where the version is asked for", "version")
        if self.ca_file and not self.verify:
            raise InvalidValueError("is of no use with verify = false; leave one of them out", "ca_file")

    def _check_reload(self) -> None:
        if isinstance(self.reload, Signals) and not self.command:
            raise InvalidValueError("a signal needs command beside it: only then is the main process known", "reload")
        if not self.reload and any(step.reloads for step in self.ladder):
            raise InvalidValueError('"reload" needs the key reload: a command, or the name of a signal', "ladder")

    def _check_ready(self) -> None:
        is_path = bool(HTTP_PATH.fullmatch(self.ready))
        if self.ready not in ("tcp", "none") and not is_path:
            raise InvalidValueError(
                f'{self.ready!r} is neither a path such as "/health" (other characters percent-encoded) '
                'nor "tcp" nor "none"',
                "ready",
            )
        if self.ready != "none" and not self.address:
            raise InvalidValueError(f'missing; ready = "{self.ready}" has to ask somewhere', "url")
        if is_path and self.address and self.address.scheme == "tcp":
            raise InvalidValueError(f'a path needs an http or https url; with {self.address} use "tcp"', "ready")
        if is_path and _LOGIN.fullmatch(urlsplit(self.ready).path.rstrip("/").rpartition("/")[2]):
            raise InvalidValueError(
                f"{self.ready!r} looks like a page to log in by, which answers well while all behind it fails; "
                'name a path that needs no login, such as "/health", or use "tcp"',
                "ready",
            )
        if self.ready == "none" and not self.address and not self.command:
            raise InvalidValueError("has neither command nor url; there is nothing to check or to start", "")

    def _check_headers(self) -> None:
        if self.headers and (self.address is None or self.address.scheme == "tcp"):
            raise InvalidValueError("needs an http or https url, to which the headers are sent", "headers")
        seen = set[str]()
        for name, value in self.headers.items():
            # The place is the table: after the name of a header, all would be masked as its value.
            if not _HEADER_NAME.fullmatch(name):
                raise InvalidValueError(f"{name!r} is no name of a header", "headers")
            if not _HEADER_VALUE.fullmatch(value):
                raise InvalidValueError(
                    f"the value of {name} begins or ends with a space, or has a character other than printable ASCII",
                    "headers",
                )
            if name.lower() in _OWN_HEADERS:
                raise InvalidValueError(f"{name} is set by auto-heal itself", "headers")
            if name.lower() in seen:
                raise InvalidValueError(f"{name} is there twice; in names of headers, case does not matter", "headers")
            seen.add(name.lower())
        if "authorization" in seen and self.address and self.address.credentials:
            raise InvalidValueError("has Authorization, and the url has a user or password; keep one", "headers")

    @property
    def request_headers(self) -> dict[str, str]:
        """The headers of every request to the service, with the credentials in its url."""
        credentials = self.address.credentials if self.address else None
        basic = {"Authorization": f"Basic {b64encode(credentials.encode()).decode()}"} if credentials else {}
        return basic | dict(self.headers)

    @property
    def has_credentials(self) -> bool:
        """Whether requests to the service carry anything by which it could know us."""
        return any(name.lower() not in _NO_CREDENTIALS for name in self.request_headers)

    @property
    def user_id(self) -> int:
        """The user ID with which the service's processes start."""
        return self.account.pw_uid if self.account else os.getuid()

    @property
    def account(self) -> struct_passwd | None:
        """The entry of `user` in the password database; None for the user who runs auto-heal."""
        return getpwnam(self.user) if self.user else None

    @property
    def mark(self) -> str:
        """The value of SERVICE_MARK in the environment of its processes."""
        return f"{self.root}:{self.name}"


class Project(Struct, frozen=True, kw_only=True):
    """`[tool.auto-heal]`: a configured project; `source` is its configuration file."""

    derived: ClassVar[tuple[str, ...]] = ("source", "untrusted")
    source: Path
    untrusted: tuple[str, ...] = ()
    """As root: which files that decide what is run may be written by another user."""

    interval: Positive = 30.0
    retries: Annotated[int, Meta(ge=1)] = 3
    retry_delay: NotNegative = 5.0
    timeout: Positive = 5.0
    collect_timeout: Positive = 30.0
    """The seconds that the import of a module, and its code outside checks, may take."""
    log_file: FilePath = Path("auto-heal.log")
    log_size: Annotated[int, Meta(ge=10_000, le=int(1e12))] = 5_000_000
    """The size in bytes at which our log and that of each service are rotated."""
    log_format: LogFormat = "text"
    """Whether our log has lines of text, or JSON objects."""
    report: FilePath = Path("reports/health.xml")
    language: Literal["en", "ru"] = "en"
    env_file: FilePath | None = None
    """A file of variables for `${NAME}` in the secrets of the project, in the format of docker's --env-file."""
    beat_token: str = ""
    """The secret with which the monitor takes heartbeats by HTTP; empty: it takes none."""
    strict: bool = False
    """Whether root refuses to work with a configuration or checks that another user may write."""
    history: HistoryLimits = HistoryLimits()
    evidence: EvidenceLimits = EvidenceLimits()
    latency: LatencyLimits = LatencyLimits()
    notify: Notices = Notices()
    limits: Limits = Limits()
    services: Mapping[str, Service] = {}

    def __post_init__(self) -> None:
        for name in ("log_file", "report"):
            force_setattr(self, name, self.root / getattr(self, name))
        if self.env_file is not None:
            force_setattr(self, "env_file", self.root / self.env_file)
        if self.beat_token and not _TOKEN.fullmatch(self.beat_token):
            raise InvalidValueError(
                f"needs at least {_SHORTEST_TOKEN} characters, all of them letters, digits or one of -._~+/=; "
                "`openssl rand -hex 16` makes one",
                "beat_token",
            )

    @property
    def root(self) -> Path:
        """The folder of the configuration, which relative paths start from."""
        return self.source.parent

    @property
    def declares_checks(self) -> bool:
        """Whether a service has checks that need no Python."""
        return any(service.checks for service in self.services.values())

    @property
    def state_folder(self) -> Path:
        """The folder for locks and for the state of each service."""
        return self.root / STATE_FOLDER

    @property
    def env_files(self) -> set[Path]:
        """The files of variables that the project and its services name."""
        named = (self.env_file, *(service.env_file for service in self.services.values()))
        return {path for path in named if path}

    @property
    def baseline(self) -> Path:
        """The default file for the baseline of a deployment."""
        return self.state_folder / "baseline.json"

    def ordered(self, names: Container[str]) -> list[Service]:
        """Return the services with these names, each after its dependencies."""
        needs = {name: service.depends_on for name, service in self.services.items()}
        return [self.services[name] for name in TopologicalSorter(needs).static_order() if name in names]

    def relative(self, path: Path) -> str:
        """Return a path below the root relative to it, for messages; leave others absolute."""
        return os.path.relpath(path, self.root) if path.is_relative_to(self.root) else str(path)


def address_of(url: Address | str, root: Path = Path()) -> Address:
    """Return the address of a URL; raise InvalidValueError with the problem if it is invalid.

    The path of a Unix socket is relative to `root`.
    """
    if isinstance(url, Address):
        return url
    if url.startswith("unix:"):
        return _socket_of(url, root)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        _refuse_bare_password(url)
        raise InvalidValueError(f"{url!r} is no URL: {error}", "url") from None
    if parts.scheme not in (*_DEFAULT_PORTS, "tcp") or not host or not url.isprintable() or " " in url:
        _refuse_bare_password(url)
        raise InvalidValueError(f"{url!r} is no URL such as http://localhost:8787", "url")
    if parts.query or parts.fragment:
        _refuse_bare_password(url)
        raise InvalidValueError(
            f"{url!r} has a query or a fragment; paths are put after it, so it has to end before", "url"
        )
    if port == 0 or (port is None and parts.scheme == "tcp"):
        raise InvalidValueError(f"{url!r} has no port", "url")
    return Address(url.rstrip("/"), parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme])


def address_in(text: str, root: Path = Path(), *, port: int | None = None) -> Address:
    """Return the address that a check names: `host:port`, a Unix socket or a URL; raise as `address_of` does.

    A host without a port has the given one.
    """
    if text.startswith("/"):
        return address_of(f"unix:{text}", root)
    if "://" in text or text.startswith("unix:"):
        return address_of(text, root)
    has_port = re.search(r":\d+$", text) and not re.fullmatch(r"[0-9a-fA-F]*:.*:.*", text)
    try:
        return address_of(f"tcp://{text}" if has_port or port is None else f"tcp://{text}:{port}", root)
    except InvalidValueError:
        if "@" in text:
            # It may have a password, which is not to be quoted.
            raise
        problem = f"{text!r} is no address such as localhost:8787, [::1]:8787 or /run/app.sock"
        raise InvalidValueError(problem, "url") from None


def _refuse_bare_password(url: str) -> None:
    """Refuse an invalid URL without quoting it if a part of its password may be what is wrong."""
    if "@" in url and not _ENCODED.fullmatch(url):
        raise InvalidValueError(
            "is no URL; in user and password, percent-encode special characters, such as %23 for #", "url"
        )


def _socket_of(url: str, root: Path) -> Address:
    if url.startswith(("unix:@", "unix:~")):
        raise InvalidValueError(f"{url!r}: only the path of a socket file can be given here, without @ or ~", "url")
    # Three slashes, as for files, stand for the one of an absolute path.
    path = url.removeprefix("unix:").removeprefix("//" if url.startswith("unix:///") else "")
    if not path or path.startswith("//") or path.endswith("/") or not path.isprintable():
        raise InvalidValueError(f"{url!r} is no socket such as unix:/run/app.sock", "url")
    path = os.path.normpath(root / path)
    if len(os.fsencode(path)) > _LONGEST_SOCKET:
        raise InvalidValueError(
            f"{path} is longer than the {_LONGEST_SOCKET} bytes that a socket's path may have", "url"
        )
    return Address(f"unix:{path}", "unix", path, 0)


def _ladder_step(step: LadderStep | str) -> LadderStep:
    return step if isinstance(step, LadderStep) else LadderStep((), reloads=step == "reload")


def _command_or_signal(words: Sequence[str] | Signals | str) -> tuple[str, ...] | Signals:
    """Return a signal if the text is exactly the name of one, and otherwise a command."""
    if isinstance(words, Signals):
        return words
    signal = _signal_named(words) if isinstance(words, str) else None
    return signal or _words(words, "reload")


def _signal_named(name: str) -> Signals | None:
    for candidate in (name.upper(), f"SIG{name.upper()}"):
        if candidate in Signals.__members__:
            return Signals[candidate]
    return None


def _signal(name: Signals | str) -> Signals:
    if isinstance(name, Signals):
        return name
    if signal := _signal_named(name):
        return signal
    raise InvalidValueError(f"{name!r} is no signal of this system; SIGTERM and SIGINT are usual", "stop_signal")
