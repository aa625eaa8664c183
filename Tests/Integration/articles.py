"""The blocks of a document, and a shell that runs its commands one by one, as a reader would."""
import os, re, select, shutil, signal, subprocess
from pathlib import Path

from brokers import PROGRAM, ROOT, wait_until

DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.md", "docs/*.md", "Benchmarks/*.md", "Tests/*/*.md", "Sources/*/*.docc/*.md")
    for path in ROOT.glob(pattern))
PORT = 1883
SECONDS_MAX = 60  # of a command


class Block:
    """Commands, and what they print where the document shows it."""

    def __init__(self, line, text):
        self.line, self.output = line, None
        self.commands = re.sub(r"\\\n\s*", "", text).splitlines()


def blocks(document):
    return parsed((ROOT / document).read_text())


def parsed(text):
    """The ```sh blocks of a document; a ```text block right behind one is its output."""
    found, last_end = [], None
    for fence in re.finditer(r"^```(\w*)\n(.*?)^```\n?", text, re.M | re.S):
        if fence[1] == "sh":
            found.append(Block(text.count("\n", 0, fence.start()) + 1, fence[2]))
            last_end = fence.end()
        elif fence[1] == "text":
            assert last_end is not None and not text[last_end:fence.start()].strip(), \
                f"output that is not behind its commands:\n{fence[2]}"
            found[-1].output = fence[2]
    return found


def is_printed(shown, printed):
    """`…` stands for anything in a line; alone in a line for any lines."""
    pattern = "".join(
        r"(.*\n)*?" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + r"\n"
        for line in shown.splitlines())
    return re.fullmatch(pattern, printed) is not None


def ends_by_itself(command):
    """Whether it does without Ctrl-C."""
    return not re.match(r"apus sub ", command) or re.search(r" (-[CWE]|--help)\b|&$", command)


class Shell:
    """A bash in a folder that has nothing but the repository's build, in a network of its own."""

    def __init__(self, folder, network):
        self.home = folder / "apus"
        self.home.mkdir()
        (self.home / ".build").symlink_to(ROOT / ".build")
        self.control = folder / "control"
        self.control.mkdir()
        self.network, self.count = network, 0
        path = f"{(ROOT / PROGRAM[0]).parent}:{os.environ['PATH']}:/usr/sbin:/usr/bin"
        self.process = subprocess.Popen(
            [*network.prefix, "bash", "--noprofile", "--norc", "-e"], cwd=self.home, text=True,
            env={**os.environ, "PATH": path, "HOME": str(self.home)},
            # What bash itself says, of jobs that were killed, is nothing that a document shows.
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # All that it has started and not ended.
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        shutil.rmtree(self.home, ignore_errors=True)

    def run(self, command, fails=False):
        """What it prints, on standard output or standard error."""
        self.count += 1
        script, output = self.control / f"{self.count}.sh", self.control / f"{self.count}.out"
        script.write_text(command + "\n")
        run = f'source "{script}" </dev/null >"{output}" 2>&1'
        self.process.stdin.write(f"if {run}; then echo 0; else echo 1; fi\n" if fails else f"{run}; echo 0\n")
        self.process.stdin.flush()
        if not ends_by_itself(command):
            wait_until(lambda: output.exists() and output.stat().st_size > 0, 20, f"`{command}` prints something")
            self.interrupt()
        assert select.select([self.process.stdout], [], [], SECONDS_MAX)[0], f"`{command}` does not end: {output.read_text()}"
        status = self.process.stdout.readline()
        printed = output.read_text()
        assert status == ("1\n" if fails else "0\n"), f"`{command}` has {'not ' if fails else ''}failed: {status}{printed}"
        if re.match(r"\S*apus serve .*&$", command):
            wait_until(lambda: self.network.listens_on(PORT), 15, f"`{command}` listens: {printed}")
        return printed

    def interrupt(self):
        """Ctrl-C for what runs in the foreground."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for child in children:
            if b"\0sub\0" in Path(f"/proc/{child}/cmdline").read_bytes():
                os.kill(int(child), signal.SIGINT)
