"""Programs from tutorials, unchanged, against a broker started as a newcomer starts it: `apus serve`, on port 1883."""
from pathlib import Path

from brokers import PROGRAM, running
from programs import Namespace, Program, run

TUTORIALS = Path(__file__).parent / "tutorials"
NODE = {"NODE_PATH": "/usr/share/nodejs"}


def test_the_subscriber_prints_what_the_publisher_says_until_it_has_unsubscribed():
    with Namespace() as network:
        with running([*PROGRAM, "serve"], 1883, network.prefix, lambda: network.listens_on(1883)):
            run(*network.prefix, "mosquitto_pub", "-t", "/temperature", "-m", "the broker is there")
            with (Program(*network.prefix, "mosquitto_sub", "-t", "/temperature", "-C", 3) as observer,
                  Program(*network.prefix, "node", TUTORIALS / "subscriber.js", env=NODE) as subscriber,
                  Program(*network.prefix, "node", TUTORIALS / "publisher.js", env=NODE)):
                assert subscriber.line(15) == "30"
                assert [observer.line(15) for _ in range(3)] == ["30", "30", "30"]
                assert subscriber.lines.empty(), "a message after UNSUBSCRIBE"
                assert subscriber.process.poll() is None
