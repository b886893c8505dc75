"""Task events of a live PySpark application, through Spark's own listener bus.

Heartbeats show what running tasks have read, written and spilled so far. An event log does not
keep them (but in local mode), and in local mode the REST API shows them as zeros, because the
counters of a heartbeat that never left the process bear no names; here they are looked up.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from common.errors import require
from projects.nurd.spark_events import stream_events

if TYPE_CHECKING:
    from pyspark import SparkContext

log = logging.getLogger(__name__)
_COUNTER = re.compile(r"\(id: (\d+), name: Some\(([\w.]+)\)")
_CALLBACKS = ("onStageSubmitted", "onTaskStart", "onTaskEnd", "onExecutorMetricsUpdate")


class SparkTaskFeed:
    """Call a function with each task event of a live application.

    Parameters
    ----------
    context : SparkContext
        Of PySpark 4, classic (not Connect).
    callback : callable
        Takes one event, as :func:`projects.nurd.spark_log.task_events` yields them; ``time`` is
        seconds since the epoch, that of a heartbeat when it arrived. It runs on the listener
        bus, so it has to return quickly; what it raises is logged and goes no further.

    Notes
    -----
    Heartbeats come every ``spark.executor.heartbeatInterval`` (10 s by default). PySpark's
    callback server listens on loopback alone.

    Examples
    --------
    ::

        with SparkTaskFeed(spark.sparkContext, lambda event: monitor.update([event])):
            frame.groupBy("user").count().collect()
    """

    def __init__(self, context: SparkContext, callback: Callable[[dict[str, Any]], object]) -> None:
        gateway_module = require("pyspark.java_gateway", "spark")
        self._callback = callback
        self._names: dict[int, str] = {}
        java, gateway = context._jvm, context._gateway
        self._to_json = java.org.apache.spark.util.JsonProtocol.sparkEventToJsonString
        gateway_module.ensure_callback_server_started(gateway)
        self._spark = context._jsc.sc()
        kinds = gateway.new_array(java.java.lang.Class, 1)
        kinds[0] = java.java.lang.Class.forName(_Listener.Java.implements[0])
        self._add, self._remove = (
            self._spark.getClass().getMethod(name, kinds)
            for name in ("addSparkListener", "removeSparkListener")
        )
        # Py4J wraps a Python object anew each time it is passed, and Spark removes a listener by
        # identity: the array keeps the one wrapper.
        wrapped = java.java.util.ArrayList()
        wrapped.add(_Listener(self._receive))
        self._listener = wrapped.toArray()

    def __enter__(self) -> SparkTaskFeed:
        self._add.invoke(self._spark, self._listener)
        return self

    def __exit__(self, *_: object) -> None:
        # Events still in the queue belong to work that is done: let them through first.
        self._spark.listenerBus().waitUntilEmpty()
        self._remove.invoke(self._spark, self._listener)

    def _receive(self, java_event: Any) -> None:
        now = time.time()
        try:
            event = json.loads(self._to_json(java_event))
            if event["Event"] == "SparkListenerStageSubmitted":
                self._name_counters(java_event)
            for one in stream_events(event, now=now, names=self._names):
                one.pop("launch", None)
                self._callback(one)
        except Exception:
            log.exception("a Spark event was not passed on")

    def _name_counters(self, submitted: Any) -> None:
        """Note which counters a stage has: in local mode its heartbeats leave the names out."""
        # One call for all: each crossing to Java waits for a core that the tasks are using.
        counters = submitted.stageInfo().taskMetrics().nameToAccums().toString()
        self._names.update({int(i): name for i, name in _COUNTER.findall(counters)})


class _Listener:
    """The Java side's view: every callback of Spark's listener interface, most of them empty."""

    def __init__(self, receive: Callable[[Any], None]) -> None:
        self._receive = receive

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name in _CALLBACKS:
            return self._receive
        if name.startswith("on"):
            return _ignore
        raise AttributeError(name)

    class Java:
        """Read by Py4J."""

        implements = ("org.apache.spark.scheduler.SparkListenerInterface",)


def _ignore(*_: object) -> None:
    """Nothing to do with this event."""
