"""Runs Python for Steadfast: one JSON text a line, requests on standard input and answers on standard output.

What the functions print goes to standard error, and their standard input is empty, so that nothing of theirs can be
taken for an answer. A request goes to the main thread if that has nothing to do, so that signals and event loops work
as they do in a program of their own; otherwise to a thread of its own. The end of standard input ends this process and
all of its group.
"""
import sys

if sys.path and sys.path[0] == "":
    # Of `-c`: what lies in the working directory must not stand in for modules, unless PYTHONPATH says so.
    del sys.path[0]

import datetime
import decimal
import importlib
import importlib.util
import inspect
import json
import logging
import math
import os
import queue
import signal
import threading
import traceback
import types
import typing
import uuid
from collections.abc import Mapping

# Readers of JSON give up where it is nested more deeply.
DEPTH = 100
LEVELS = {logging.DEBUG: "DEBUG", logging.INFO: "INFO", logging.WARNING: "WARNING", logging.ERROR: "ERROR"}


class Wire:
    """The two pipes, out of the reach of what is run here."""

    def __init__(self):
        self.input = os.fdopen(os.dup(0), "rb")
        self.output = os.dup(1)
        self.lock = threading.Lock()
        # Set while the main thread writes: a signal must not cut a line in two.
        self.writing = False
        self.late = []
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)

    def send(self, message):
        line = json.dumps(message, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace") + b"\n"
        main = threading.current_thread() is threading.main_thread()
        if main:
            self.writing = True
        try:
            with self.lock:
                while line:
                    line = line[os.write(self.output, line):]
        finally:
            if main:
                self.writing = False
        while main and self.late:
            self.late.pop(0)()

    def forked(self):
        """A child of this process has nothing to say here, and must not hold the pipes open."""
        nothing = os.open(os.devnull, os.O_RDWR)
        for pipe in (self.input.fileno(), self.output):
            os.dup2(nothing, pipe, inheritable=False)
        os.close(nothing)
        self.lock = threading.Lock()


class Told(logging.Handler):
    """What is logged in Chaos Toolkit's name is a line of the run."""

    def emit(self, record):
        level = "CRITICAL"
        for number in sorted(LEVELS, reverse=True):
            if record.levelno >= number and record.levelno < logging.CRITICAL:
                level = LEVELS[number]
                break
        try:
            WIRE.send({"log": level, "text": self.format(record)})
        except Exception:
            self.handleError(record)


class Failure(Exception):
    """A request that fails for a reason that is said in its text."""


def key(name):
    if isinstance(name, str):
        return str(name)
    if name is None or isinstance(name, bool):
        return {None: "null", True: "true", False: "false"}[name]
    return repr(name) if isinstance(name, float) else str(name)


def plain(value, within=()):
    """The value in what JSON has: what it has not becomes text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (decimal.Decimal, uuid.UUID)):
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", "backslashreplace")
    if isinstance(value, Exception):
        return "An exception was raised: %s('%s')" % (type(value).__name__, value)
    if id(value) in within or len(within) >= DEPTH:
        return "..."
    within = within + (id(value),)
    if isinstance(value, Mapping):
        return {key(name): plain(item, within) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, within) for item in value]
    if isinstance(value, (set, frozenset)):
        return [plain(item, within) for item in sorted(value, key=repr)]
    return repr(value)


def parameters(function):
    """The parameters of a function; none are known of some that are written in C."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}


def last_line(error):
    return traceback.format_exception_only(type(error), error)[0].strip()


def interrupts(error):
    exceptions = sys.modules.get("chaoslib.exceptions")
    kind = getattr(exceptions, "InterruptExecution", None)
    return kind is not None and isinstance(error, kind)


def inspected(request):
    """Whether a function can be called with these arguments."""
    module, name = request["module"], request["func"]
    try:
        module = importlib.import_module(module)
    except ImportError as error:
        return {"no": "module", "why": last_line(error)}
    except Exception as error:
        return {"no": "module", "why": "it cannot be imported: " + last_line(error)}
    function = getattr(module, name, None)
    if not (inspect.isfunction(function) or inspect.isbuiltin(function)):
        return {"no": "function"}
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return {"parameters": None}
    known = {name: None for name in ("secrets", "configuration") if name in signature.parameters}
    try:
        signature.bind(**dict(request["arguments"], **known))
    except TypeError as error:
        text = str(error)
        if "missing" in text:
            return {"no": "argument", "name": text.rsplit(":", 1)[-1].strip()}
        if "unexpected" in text:
            return {"no": "parameter", "name": text.rsplit(" ", 1)[-1].strip()}
        return {"no": "call", "why": text}
    described = []
    for parameter in signature.parameters.values():
        required = parameter.default is inspect.Parameter.empty
        described.append({"name": parameter.name, "kind": parameter.kind.name, "required": required})
    return {"parameters": described}


def called(request):
    """What a function returns."""
    module, name = request["module"], request["func"]
    try:
        function = getattr(importlib.import_module(module), name)
    except AttributeError:
        raise Failure("the Python module %r has no function called %r" % (module, name))
    arguments = dict(request["arguments"])
    for name in ("configuration", "secrets"):
        if request.get(name) is not None and name in parameters(function):
            arguments[name] = request[name]
    return {"value": plain(function(**arguments))}


def hooks(request):
    """The names of what a module of controls defines."""
    module = importlib.import_module(request["module"])
    return {"value": sorted(name for name in dir(module) if name.endswith("_control"))}


def at(document, pointer):
    """What a JSON pointer points at: the very object, not a copy."""
    for step in pointer.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        document = document[int(step)] if isinstance(document, list) else document[step]
    return document


def hooked(request):
    """Calls a control, and says which of the objects that it was given have changed."""
    function = getattr(importlib.import_module(request["module"]), request["func"], None)
    if function is None:
        if request["required"]:
            raise Failure("the Python module %r has no function called %r" % (request["module"], request["func"]))
        return {"value": {}}
    given = request["given"]
    was = json.dumps(given, sort_keys=True)
    objects = json.loads(was)
    arguments = dict(request["arguments"])
    known = parameters(function)
    experiment = objects.get("experiment")
    if isinstance(experiment, dict):
        objects["extensions"] = experiment.get("extensions")
    if "event_registry" in known:
        objects["event_registry"] = Registry(request["module"])
    for name, value in objects.items():
        if name in known:
            arguments[name] = value
    if "pointer" in request:
        arguments["context"] = at(experiment, request["pointer"])
    elif "context" in request:
        arguments["context"] = request["context"]
    # What it changed before it raised is changed, as it is where nothing is copied.
    ended = {}
    try:
        if request.get("positional"):
            function(*request["positional"])
        else:
            function(**arguments)
    except BaseException as error:
        ended = raised(error, True)
    changed = {}
    before = json.loads(was)
    for name in before:
        now = plain(objects[name])
        if now != before[name] or json.dumps(now, sort_keys=True) != json.dumps(before[name], sort_keys=True):
            changed[name] = now
    return dict(ended, value=changed)


class Registry:
    """Stands for chaoslib's registry of event handlers, none of which are called here."""

    def __init__(self, module):
        self.module = module

    def register(self, handler):
        text = "the event handler %s of %s is never called: handlers of events are not supported, hooks of controls are"
        logging.getLogger("chaostoolkit").warning(text, type(handler).__name__, self.module)


KINDS = {"inspect": inspected, "call": called, "hooks": hooks, "hook": hooked}


def answered(request):
    """The answer to a request, whatever comes of it."""
    try:
        return KINDS[request["do"]](request)
    except Failure as error:
        return {"failed": str(error)}
    except BaseException as error:
        return raised(error, False)


def raised(error, may_interrupt):
    """What an exception means; `InterruptExecution` is one like others, unless a control raises it."""
    if isinstance(error, SystemExit):
        whole = isinstance(error.code, int) or error.code is None
        return {"exit": int(error.code or 0)} if whole else {"exit": 1, "text": str(error.code)}
    if not isinstance(error, Exception):
        return {"interrupt": last_line(error)}
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    logging.getLogger("chaostoolkit").debug(text.rstrip())
    return {"interrupt": str(error)} if may_interrupt and interrupts(error) else {"failed": last_line(error)}


class Main:
    """The main thread."""

    def __init__(self):
        self.jobs = queue.SimpleQueue()
        self.lock = threading.Lock()
        self.idle = True
        self.running = None
        # Whether the running request is to be cut, and whether it may be: outside it nobody waits for the exception.
        self.cut = False
        self.open = False

    def take(self, request):
        """Takes a request if there is nothing else to do."""
        with self.lock:
            if not self.idle:
                return False
            self.idle = False
            self.running = request["id"]
            self.cut = False
        self.jobs.put(request)
        return True

    def serve(self):
        while True:
            request = self.jobs.get()
            if request is None:
                return
            answer = None
            try:
                self.open = True
                answer = answered(request)
                self.open = False
            except KeyboardInterrupt:
                self.open = False
                answer = answer or {"interrupt": "KeyboardInterrupt"}
            with self.lock:
                self.running = None
                self.idle = True
            WIRE.send(dict(answer, id=request["id"]))

    def interrupt(self, number):
        """Interrupts the main thread in what it does, if that is the request with this number."""
        with self.lock:
            if self.running != number:
                return
            self.cut = True
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    def interrupted(self, *_):
        if WIRE.writing:
            WIRE.late.append(self.interrupted)
        elif self.cut and self.open:
            self.cut = False
            raise KeyboardInterrupt()


def asked_to_end(number, _):
    """`chaoslib.exit` sends these to its own process."""
    def tell():
        WIRE.send({"exit": 20 if number == signal.SIGUSR1 else 30})
    if WIRE.writing:
        WIRE.late.append(tell)
    else:
        tell()


def beside(request):
    WIRE.send(dict(answered(request), id=request["id"]))


def read():
    """Gives out the requests, on a thread of its own."""
    for line in WIRE.input:
        request = json.loads(line)
        if "cancel" in request:
            MAIN.interrupt(request["cancel"])
        elif "bye" in request:
            MAIN.jobs.put(None)
        elif request.get("beside") or not MAIN.take(request):
            threading.Thread(target=beside, args=(request,), daemon=True).start()
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(0)


def stand_in():
    """Modules in place of chaoslib's, if it is not installed: its exceptions and the names of its types."""
    if importlib.util.find_spec("chaoslib") is not None:
        return
    package = types.ModuleType("chaoslib")
    package.__path__ = []
    exceptions = types.ModuleType("chaoslib.exceptions")
    base = type("ChaosException", (Exception,), {"__module__": exceptions.__name__})
    exceptions.ChaosException = base
    names = "ActivityFailed DiscoveryFailed InterruptExecution InvalidActivity InvalidControl InvalidExperiment InvalidSource"
    for name in names.split():
        setattr(exceptions, name, type(name, (base,), {"__module__": exceptions.__name__}))
    kinds = types.ModuleType("chaoslib.types")
    kinds.__getattr__ = lambda name: typing.Any if not name.startswith("_") else undefined(name)
    for module in (exceptions, kinds):
        setattr(package, module.__name__.rsplit(".", 1)[1], module)
        sys.modules[module.__name__] = module
    sys.modules[package.__name__] = package


def undefined(name):
    raise AttributeError(name)


WIRE = Wire()
MAIN = Main()

if __name__ == "__main__":
    stand_in()
    logger = logging.getLogger("chaostoolkit")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(Told())
    os.register_at_fork(after_in_child=WIRE.forked)
    signal.signal(signal.SIGINT, MAIN.interrupted)
    signal.signal(signal.SIGUSR1, asked_to_end)
    signal.signal(signal.SIGUSR2, asked_to_end)
    threading.Thread(target=read, daemon=True).start()
    WIRE.send({"ready": list(sys.version_info[:3])})
    MAIN.serve()
