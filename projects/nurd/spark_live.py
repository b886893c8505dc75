"""Task events of a live PySpark application, from Spark's own listener bus.

Heartbeats show what running tasks have read, written and spilled so far. An event log does not
keep them (but in local mode, without a time), and in local mode the REST API shows them as zeros,
because the counters of a heartbeat that never left the process bear no names.
"""

from __future__ import annotations

import json
import logging
import re
import weakref
from typing import TYPE_CHECKING, Any

from common.errors import require
from projects.nurd.spark_events import stream_events

if TYPE_CHECKING:
    from pyspark import SparkContext

log = logging.getLogger(__name__)
_CAPACITY = 100_000
_COUNTER = re.compile(r"\(id: (\d+), name: Some\(([\w.]+)\)")
_TASK_ID = re.compile(r"\(TID (\d+)\)")
_COMPILED: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
# The listener runs in the JVM: called back in Python instead, it would wait for a core with each
# crossing and fall seconds behind the tasks. Janino, which Spark ships and uses for its own
# generated code, compiles it; hence the plain Java.
_LISTENER = """
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadInfo;
import java.util.concurrent.LinkedBlockingQueue;
import org.apache.spark.scheduler.*;
import org.apache.spark.util.JsonProtocol;

public class TaskListener extends SparkListener {
    private final LinkedBlockingQueue lines;
    private final boolean threads;
    private final com.sun.management.ThreadMXBean bean =
        (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();
    private long lost = 0;
    private long last = 0;

    public TaskListener(int capacity, boolean threads) {
        this.lines = new LinkedBlockingQueue(capacity);
        this.threads = threads;
    }

    public void onStageSubmitted(SparkListenerStageSubmitted event) {
        put("names", event.stageInfo().taskMetrics().nameToAccums().toString());
    }

    public void onTaskStart(SparkListenerTaskStart event) {
        sample();
        put("event", JsonProtocol.sparkEventToJsonString(event));
    }

    public void onTaskEnd(SparkListenerTaskEnd event) {
        put("event", JsonProtocol.sparkEventToJsonString(event));
    }

    public void onExecutorMetricsUpdate(SparkListenerExecutorMetricsUpdate event) {
        if (event.accumUpdates().isEmpty()) return;
        put("event", JsonProtocol.sparkEventToJsonString(event));
        sample();
    }

    private void put(String kind, String text) {
        if (!lines.offer(kind + " " + System.currentTimeMillis() + " " + text)) lost++;
    }

    private void sample() {
        long now = System.currentTimeMillis();
        if (!threads || now - last < 20) return;
        last = now;
        StringBuilder text = new StringBuilder();
        ThreadInfo[] infos = bean.getThreadInfo(bean.getAllThreadIds());
        for (int i = 0; i < infos.length; i++) {
            if (infos[i] == null || infos[i].getThreadName().indexOf("Executor task") < 0) continue;
            long id = infos[i].getThreadId();
            text.append(id + " " + bean.getThreadCpuTime(id) + " ");
            text.append(bean.getThreadAllocatedBytes(id) + " " + infos[i].getThreadName() + "|");
        }
        put("threads", text.toString());
    }

    public long lost() { return lost; }

    public String take() {
        StringBuilder all = new StringBuilder();
        for (Object line = lines.poll(); line != null; line = lines.poll()) {
            all.append(line).append("\\n");
        }
        return all.toString();
    }
}
"""


class SparkTaskFeed:
    """The task events of a live application, since the last look.

    Parameters
    ----------
    context : SparkContext
        Of PySpark 4, classic (not Connect).
    threads : bool
        Local mode only: at each start and heartbeat, also read the CPU time and the allocated
        bytes of the tasks' Java threads, for :attr:`samples`. Spark itself publishes a task's CPU
        time only when the task ends.

    Attributes
    ----------
    samples : list of dict
        ``time`` [s since the epoch], ``tasks`` (task id: thread id) and ``threads`` (thread id:
        (CPU time [s], allocated [MB])).

    Notes
    -----
    Heartbeats come every ``spark.executor.heartbeatInterval`` (10 s by default). At most 100,000
    unread events are kept.

    Examples
    --------
    ::

        with SparkTaskFeed(spark.sparkContext) as feed:
            job = threading.Thread(target=frame.write.parquet, args=(target,))
            job.start()
            while job.is_alive():
                for event in feed.poll():
                    monitor.update([event])
                time.sleep(1)
    """

    def __init__(self, context: SparkContext, *, threads: bool = False) -> None:
        require("pyspark", "spark")
        constructor = _listener_class(context).getConstructors()[0]
        self._listener = constructor.newInstance(_array(context, _CAPACITY, threads))
        self._spark = context._jsc.sc()
        self._names: dict[int, str] = {}
        self._lost = 0
        self.samples: list[dict[str, Any]] = []

    def __enter__(self) -> SparkTaskFeed:
        self._spark.addSparkListener(self._listener)
        return self

    def __exit__(self, *_: object) -> None:
        # Events still in the queue belong to work that is done: let them through first.
        self._spark.listenerBus().waitUntilEmpty()
        self._spark.removeSparkListener(self._listener)

    def poll(self) -> list[dict[str, Any]]:
        """Events since the last call, as :func:`projects.nurd.spark_log.task_events` yields them.

        ``time`` is in seconds since the epoch; for a heartbeat, when it reached the driver.
        """
        events: list[dict[str, Any]] = []
        for line in self._listener.take().splitlines():
            kind, milliseconds, text = line.split(" ", 2)
            now = int(milliseconds) * 1e-3
            if kind == "names":  # in local mode heartbeats leave the names of counters out
                self._names.update({int(i): name for i, name in _COUNTER.findall(text)})
            elif kind == "threads":
                self.samples.append(_sample(now, text))
            else:
                events += stream_events(json.loads(text), now=now, names=self._names)
        lost = self._listener.lost()
        if lost > self._lost:
            log.warning("%d Spark events were lost: poll more often", lost - self._lost)
            self._lost = lost
        for event in events:
            event.pop("launch", None)
        return events


def _listener_class(context: SparkContext) -> Any:
    """Compile the listener, once per JVM: Py4J remembers the methods of a class by its name."""
    if context._gateway not in _COMPILED:
        compiler = context._jvm.org.codehaus.janino.SimpleCompiler()
        loader = context._jvm.Thread.currentThread().getContextClassLoader()
        compiler.setParentClassLoader(loader)
        compiler.cook(_LISTENER)
        _COMPILED[context._gateway] = compiler.getClassLoader().loadClass("TaskListener")
    return _COMPILED[context._gateway]


def _array(context: SparkContext, *entries: Any) -> Any:
    """A Java array of objects."""
    boxed = context._jvm.java.util.ArrayList()
    for entry in entries:
        boxed.add(entry)
    return boxed.toArray()


def _sample(now: float, text: str) -> dict[str, Any]:
    use, tasks = {}, {}
    for entry in text.split("|")[:-1]:
        thread, cpu, allocated, name = entry.split(" ", 3)
        use[int(thread)] = (int(cpu) * 1e-9, int(allocated) * 1e-6)
        if found := _TASK_ID.search(name):
            tasks[int(found[1])] = int(thread)
    return {"time": now, "tasks": tasks, "threads": use}
