"""A cluster of two nodes on this machine, apart from whatever else runs on it.

The configuration is bound to /etc/slurm in a mount namespace of its own, so that neither a file nor
a socket of the machine is touched. Each node is a process namespace: killing its first process
takes everything that runs on it, as a power cut would.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NODES = ("n1", "n2")
# A requeued job waits until its old credential has expired, two minutes by default.
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=0
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/completed.log
JobAcctGatherType=jobacct_gather/none
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=8000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=8000
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Cluster:
    """Slurm with the nodes ``n1`` and ``n2``; :meth:`stop` takes all of it away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._enter: list[str] = []

    def start(self) -> None:
        """Start the daemons and wait for both nodes."""
        for name in ("etc", "state", *(f"spool.{node}" for node in NODES)):
            (self.folder / name).mkdir()
        text = CONFIGURATION.format(
            folder=self.folder, host=socket.gethostname(), ports=find_ports(3)
        )
        (self.folder / "etc/slurm.conf").write_text(text)
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        bind = f"mount --bind {self.folder}/etc /etc/slurm && touch {self.folder}/bound"
        self._spawn("house", "unshare", "--mount", "sh", "-c", f"{bind} && exec sleep infinity")
        self.until("the mount", (self.folder / "bound").exists)
        self._enter = ["nsenter", f"--target={self._running['house'].pid}", "--mount"]
        files = {"key-file": "key", "pid-file": "pid", "seed-file": "seed", "socket": "socket"}
        places = [f"--{option}={self.folder}/munge.{name}" for option, name in files.items()]
        self._spawn("munged", *self._enter, "munged", "--foreground", "--force", *places)
        self.until("munged", (self.folder / "munge.socket").exists)
        self._spawn("slurmctld", *self._enter, "slurmctld", "-D", "-c")
        for node in NODES:
            namespace = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
            # The shell, which does not end first, buries orphans: slurmd as the first would not,
            # and take its own dead steps for alive.
            daemon = ("sh", "-c", f"slurmd -D -N {node}; exit")
            self._spawn(node, *self._enter, *namespace, *daemon)
        self.until("two idle nodes", lambda: self.ask("sinfo", "-hNo%T").split() == ["idle"] * 2)

    def command(self, *command: str | Path) -> list[str | Path]:
        """Turn a command into one that sees the cluster."""
        return [*self._enter, f"--wd={Path.cwd()}", *command]

    def ask(self, *command: str) -> str:
        """Output of one of Slurm's commands; empty while the controller does not answer."""
        done = subprocess.run(self.command(*command), capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else ""

    def kill_node(self, node: str) -> None:
        """Cut a node's power and let the controller know at once what it would find out."""
        self._end(self._running.pop(node))
        self.ask("scontrol", "update", f"nodename={node}", "state=down", "reason=test")

    def until(self, what: str, condition: Callable[[], object], seconds: float = 60) -> None:
        """Wait for a condition."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {seconds:.0f} s for {what}:\n{self.logs()}")
            time.sleep(0.2)

    def logs(self) -> str:
        """Last lines of every daemon."""
        paths = sorted(self.folder.glob("*.out"))
        return "\n".join(f"{path.name}: {path.read_text()[-1500:]}" for path in paths)

    def stop(self) -> None:
        """Kill every process of the cluster."""
        while self._running:
            self._end(self._running.popitem()[1])

    def _spawn(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.out").open("wb") as log:
            # Nothing is left behind, even where the tests themselves are killed.
            mortal = ["setpriv", "--pdeathsig=KILL", *command]
            self._running[name] = subprocess.Popen(mortal, stdout=log, stderr=log)

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()


def find_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@pytest.fixture(scope="session")
def free_ports() -> Callable[[int], list[int]]:
    """Return a finder of free ports."""
    return find_ports


@pytest.fixture(scope="module")  # its daemons are children of the tests, which others measure
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two idle nodes."""
    made = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        try:
            made.start()
        except TimeoutError as error:  # of Slurm alone: none of this project's code has run yet
            pytest.skip(f"Slurm does not start on this machine: {error}")
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT
