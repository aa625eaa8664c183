"""The tools as processes: in pipes, under a terminal, against our broker, mosquitto and a server that records."""
import contextlib, getpass, os, pty, select, shutil, signal, socket, struct, subprocess, threading, time

from brokers import PROGRAM, ROOT, Broker, free_port, running_with_threads, wait_until
from programs import Program

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
CONFIGURATION = """listener {port} 127.0.0.1
allow_anonymous {anonymous}
user {user}
{more}
"""


@contextlib.contextmanager
def mosquitto(tmp_path, anonymous=True, more=""):
    """A running mosquitto."""
    port = free_port()
    configuration = tmp_path / f"mosquitto-{port}.conf"
    configuration.write_text(CONFIGURATION.format(port=port, anonymous=str(anonymous).lower(), user=getpass.getuser(), more=more))
    server = Broker([MOSQUITTO, "-c", str(configuration)], port)
    try:
        server.wait_until_it_listens()
        yield server
    finally:
        server.discard()


@contextlib.contextmanager
def broker_named(kind, tmp_path):
    with running_with_threads(2) if kind == "apus" else mosquitto(tmp_path) as broker:
        yield broker


def tool(*arguments, input=None, timeout=30, env=None):
    """A tool run to its end. Bytes in, bytes out."""
    return subprocess.run([*PROGRAM, *map(str, arguments)], cwd=ROOT, input=input, capture_output=True, timeout=timeout,
                          env={**os.environ, **(env or {})})


def listening(*arguments, env=None, subscriptions=1, program=("sub",)):
    """`apus sub` or another, once the broker has granted all its subscriptions; -d tells."""
    program = Program(*PROGRAM, *program, "-d", *arguments, env=env)
    try:
        wait_until(lambda: sum("subscribed to" in e for e in program.errors) >= subscriptions or program.process.poll() is not None,
                   15, f"{arguments} has subscribed")
        assert sum("subscribed to" in e for e in program.errors) >= subscriptions, program.errors
    except BaseException:
        program.__exit__()
        raise
    return program


class Terminal:
    """A tool whose standard output and standard error are a terminal."""

    def __init__(self, *arguments, rows=24, columns=100):
        ours, theirs = pty.openpty()
        import fcntl, termios
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = subprocess.Popen([*PROGRAM, *map(str, arguments)], cwd=ROOT, stdin=subprocess.DEVNULL,
                                        stdout=theirs, stderr=theirs, start_new_session=True)
        os.close(theirs)
        self.descriptor, self.output = ours, b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.descriptor)

    def read(self, seconds):
        """What comes next; empty at the end."""
        ready, _, _ = select.select([self.descriptor], [], [], seconds)
        if not ready:
            return None
        try:
            data = os.read(self.descriptor, 65536)
        except OSError:  # the other end is closed
            return b""
        self.output += data
        return data

    def read_until(self, part, seconds=15):
        end = time.monotonic() + seconds
        while part not in self.output:
            data = self.read(max(0.01, end - time.monotonic()))
            assert data, f"{part!r} did not come: {self.output!r}"
        return self.output

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)

    def rest(self, seconds=15):
        """All until the end, and the exit code."""
        end = time.monotonic() + seconds
        while self.read(max(0.01, end - time.monotonic())):
            pass
        return self.output, self.process.wait(seconds)


def take_string(data, at):
    length = struct.unpack_from(">H", data, at)[0]
    return data[at + 2:at + 2 + length], at + 2 + length


def take_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at


FORMS = {1: "B", 2: "I", 17: "I", 23: "B", 24: "I", 25: "B", 33: "H", 34: "H", 35: "H", 39: "I"}


def take_properties(data, at):
    """A dictionary of lists."""
    length, at = take_varint(data, at)
    end, properties = at + length, {}
    while at < end:
        identifier, at = data[at], at + 1
        if identifier in FORMS:
            form = ">" + FORMS[identifier]
            value, at = struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)
        elif identifier == 38:
            name, at = take_string(data, at)
            text, at = take_string(data, at)
            value = (name, text)
        elif identifier == 11:
            value, at = take_varint(data, at)
        else:
            value, at = take_string(data, at)
        properties.setdefault(identifier, []).append(value)
    return properties, at


class Recorder:
    """A server that accepts everything once and keeps the packets."""

    def __init__(self, path=None):
        if path:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.bind(str(path))
            self.socket.listen()
        else:
            self.socket = socket.create_server(("127.0.0.1", 0))
        self.port, self.packets, self.level, self.peer = self.socket.getsockname()[1], [], None, None
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def serve(self):
        with contextlib.suppress(OSError):
            peer, self.peer = self.socket.accept()
            self.converse(peer)

    def converse(self, peer):
        with contextlib.suppress(OSError), peer, peer.makefile("rb") as stream:
            while first := stream.read(1):
                length, shift = 0, 0
                while True:
                    byte = stream.read(1)[0]
                    length, shift = length | (byte & 127) << shift, shift + 7
                    if byte < 128:
                        break
                body = stream.read(length)
                self.packets.append((first[0], body))
                self.answer(peer, first[0], body)

    def answer(self, peer, first, body):
        kind, empty = first >> 4, b""
        if kind == 1:
            self.level = body[take_string(body, 0)[1]]
            peer.sendall(b"\x20\x03\0\0\0" if self.level == 5 else b"\x20\x02\0\0")
        elif kind == 3 and first & 6 == 2:
            at = take_string(body, 0)[1]
            peer.sendall(b"\x40\x02" + body[at:at + 2])
        elif kind == 3 and first & 6 == 4:
            at = take_string(body, 0)[1]
            peer.sendall(b"\x50\x02" + body[at:at + 2])
        elif kind == 6:
            peer.sendall(b"\x70\x02" + body[:2])
        elif kind == 8:
            peer.sendall(b"\x90" + (b"\x04" + body[:2] + b"\0\0" if self.level == 5 else b"\x03" + body[:2] + b"\0"))
        elif kind == 10:
            peer.sendall(b"\xb0" + (b"\x04" + body[:2] + b"\0\0" if self.level == 5 else b"\x02" + body[:2]))
        elif kind == 12:
            peer.sendall(b"\xd0\0")

    def kinds(self):
        return [first >> 4 for first, _ in self.packets]

    def connect(self):
        """The fields of CONNECT."""
        body = self.packets[0][1]
        assert self.packets[0][0] == 0x10
        _, at = take_string(body, 0)
        level, flags, keep_alive = struct.unpack_from(">BBH", body, at)
        at += 4
        found = {"level": level, "clean": bool(flags & 2), "keep_alive": keep_alive, "properties": {}}
        if level == 5:
            found["properties"], at = take_properties(body, at)
        found["id"], at = take_string(body, at)
        if flags & 4:
            will = {"qos": flags >> 3 & 3, "retain": bool(flags & 32), "properties": {}}
            if level == 5:
                will["properties"], at = take_properties(body, at)
            will["topic"], at = take_string(body, at)
            will["payload"], at = take_string(body, at)
            found["will"] = will
        if flags & 128:
            found["user"], at = take_string(body, at)
        if flags & 64:
            found["password"], at = take_string(body, at)
        return found

    def publishes(self):
        """Topic, payload, QoS, retain and properties of each PUBLISH."""
        found = []
        for first, body in self.packets:
            if first >> 4 != 3:
                continue
            topic, at = take_string(body, 0)
            at += 2 if first & 6 else 0
            properties = {}
            if self.level == 5:
                properties, at = take_properties(body, at)
            found.append((topic, body[at:], first >> 1 & 3, bool(first & 1), properties))
        return found
