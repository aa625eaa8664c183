import MQTT
import MQTTPackets
import MQTTServer
import MQTTTesting
import NIOCore
import Synchronization
import Testing

@Suite("Time that a test moves", .timeLimit(.minutes(1))) struct ClockTests {
    @Test("keep alive, connect timeout and session expiry of the broker follow it")
    func broker() async throws {
        try await withBroker { broker, connect in
            let silent = try await connect.transport()
            let session = try await connect("session", expiry: 3_600, keepAlive: 60)
            try await connect.clock.advance(by: .seconds(29))
            #expect(broker.statistics.connections == 2)
            try await connect.clock.advance(by: .seconds(2))
            #expect(try await silent.nextOrEnd() == nil)
            // Its keep alive is a minute.
            try await connect.clock.advance(by: .seconds(58))
            #expect(broker.statistics.clientsConnected == 1)
            try await connect.clock.advance(by: .seconds(2))
            #expect(try await session.disconnectReason() == .keepAliveTimeout)
            #expect(broker.statistics.sessions == 1)
            try await connect.clock.advance(by: .seconds(3_595))
            #expect(broker.statistics.sessions == 1)
            try await connect.clock.advance(by: .seconds(10))
            #expect(broker.statistics.sessions == 0)
        }
    }

    @Test("the client's pings and its pauses between attempts follow it")
    func client() async throws {
        try await withBroker { _, connect in
            let link = try await connect.link()
            let client = try await connect.client("client", over: link) { $0.keepAlive = .seconds(10) }
            _ = try await client.connected()
            try await connect.clock.advance(by: .seconds(60))
            #expect((5...13).contains(link.transcript.only(.pingreq).lines.count))

            let events = client.events
            let pausing = Task {
                var pauses: [Duration] = []
                for await case .reconnecting(let pause, _) in events where pauses.count < 5 {
                    pauses.append(pause)
                    if pauses.count == 5 { break }
                }
                return pauses
            }
            try await link.nextConnection()
            try await link.refuse(4)
            try await link.cut()
            try await connect.clock.letTimePass { try await link.nextConnection() }
            #expect(await pausing.value == [1, 2, 4, 8, 16].map(Duration.seconds))
        }
    }

    @Test("a message that waited too long for a connection is not sent, and a request is given up")
    func clientLimits() async throws {
        try await withBroker { _, connect in
            let link = try await connect.link()
            try await link.refuse()
            let client = try await connect.client("client", over: link) { $0.queue.ageMax = .seconds(300) }
            let publishing = Task { try await client.publish("x", to: "t", qos: .atLeastOnce) }
            let error = await #expect(throws: MQTTError.self) {
                try await connect.clock.letTimePass { try await publishing.value }
            }
            #expect(error == .expired)
            #expect(connect.clock.now.elapsed >= .seconds(300) && connect.clock.now.elapsed < .seconds(420))
            try await link.accept()
            let asking = await #expect(throws: MQTTError.self) {
                try await connect.clock.letTimePass {
                    try await client.request(to: "nobody", payload: ByteBuffer(), qos: .atMostOnce)
                }
            }
            #expect(asking == .requestTimedOut)
        }
    }

    @Test("whatever sleeps by it wakes in order, and one that is cancelled at once")
    func sleep() async throws {
        try await withBroker { _, connect in
            let clock = connect.clock
            let woken = Woken()
            let sleeping = (1...3).map { number in
                Task {
                    try await clock.sleep(for: .seconds(number * 10))
                    woken.numbers.withLock { $0.append(number) }
                }
            }
            try await clock.letTimePass { for task in sleeping { try await task.value } }
            #expect(woken.numbers.withLock { $0 } == [1, 2, 3])
            let cancelled = Task { try await clock.sleep(for: .seconds(1)) }
            cancelled.cancel()
            await #expect(throws: CancellationError.self) { try await cancelled.value }
        }
    }

    @Test("what does not come, however long the time passes, is an error")
    func limit() async throws {
        try await withBroker { _, connect in
            let client = try await connect("client")
            let error = await #expect(throws: TestingError.self) {
                try await connect.clock.letTimePass(upTo: .seconds(30)) { try await client.nextPayload() }
            }
            #expect(error?.description.contains("30") == true)
        }
    }

    @Test("it stands still by itself, and live it goes on")
    func stillness() async throws {
        try await withBroker { _, connect in
            let began = connect.clock.now
            for _ in 0..<20 { try await connect().ping() }
            #expect(connect.clock.now == began)
        }
        try await withBroker(.live) { _, connect in
            let began = connect.clock.now
            try await connect.clock.advance(by: .milliseconds(5))
            #expect(began.duration(to: connect.clock.now) >= .milliseconds(5))
        }
    }
}

private final class Woken: Sendable {
    let numbers = Mutex<[Int]>([])
}
