import MQTTCore
import MQTTPackets
import MQTTServer
import MQTTTesting
import NIOCore
import Testing

@Suite("Limits of time", .timeLimit(.minutes(1))) struct LimitTimeTests {
    @Test("a client that takes nothing of what it is sent is ended after the drain time, whatever its limits")
    func drainTime() async throws {
        try await withLimits {
            $0.drainTime = .milliseconds(500)
        } _: { trial in
            let slow = try await SlowClient(trial.connect)
            try await slow.subscribe("flood")
            let publisher = try await trial.connect()
            try await trial.flood("flood", by: publisher) { $0.unsentPackets >= 1 }
            try await trial.bystander.isServed()
            let broker = trial.broker
            try await trial.bystander.wait(for: "its end") { broker.statistics.clientsConnected == 2 }
            #expect(try await slow.lastReason() == .quotaExceeded)
            try await trial.bystander.isServed()
        }
    }

    @Test(
        "a client that takes its bytes slowly is not ended, although it is not writable for longer than the drain time"
    )
    func slowButSteadyReader() async throws {
        try await withLimits {
            $0.drainTime = .seconds(1)
            $0.limits.sendBufferBytesMax = 64 << 20
        } _: { trial in
            let broker = trial.broker
            let slow = try await SlowClient(trial.connect)
            try await slow.subscribe("flood")
            let publisher = try await trial.connect()
            try await trial.flood("flood", by: publisher, payloadBytes: 1 << 20) { $0.unsentBytes >= 40 << 20 }
            var least = Int.max
            for _ in 0..<20 {
                guard try await slow.next()?.kind == .publish else { throw TimedOut(description: "ended too early") }
                least = min(least, broker.statistics.unsentBytes)
                try await trial.clock.advance(by: .milliseconds(200))
            }
            // While it is writable, nothing waits.
            #expect(least > 1 << 20)
            #expect(broker.statistics.clientsConnected == 3)
            try await trial.bystander.isServed()
            // Now it takes nothing.
            try await trial.bystander.wait(for: "its end") { broker.statistics.clientsConnected == 2 }
            #expect(try await slow.lastReason() == .quotaExceeded)
        }
    }

    @Test("a packet that has come in part and does not go on ends its connection with 0x97", arguments: [1, 40, 4_000])
    func standstill(bytes count: Int) async throws {
        try await withLimits {
            $0.drainTime = .seconds(1)
        } _: { trial in
            let client = try await trial.accepted(Connect(version: .v5, clientID: "c", keepAlive: 0)).client
            let idle = try await trial.accepted(Connect(version: .v5, clientID: "idle", keepAlive: 0)).client
            let publish = Publish(topic: "t", payload: ByteBuffer(repeating: 0x70, count: 5_000))
            var bytes = PacketEncoder(version: .v5).encode(.publish(publish))
            let began = trial.clock.now
            try await client.send(bytes.take(count))
            #expect(try await trial.clock.letTimePass { try await client.disconnectReason() } == .quotaExceeded)
            let lasted = began.duration(to: trial.clock.now)
            #expect(lasted >= .seconds(1) && lasted < .seconds(4))
            try await trial.bystander.isServed()
            // Who sends nothing owes nothing.
            try await idle.ping()
        }
    }

    @Test("a packet that goes on, 16 KiB in each drain time, comes to its end")
    func partsGoOn() async throws {
        try await withLimits {
            $0.drainTime = .seconds(1)
        } _: { trial in
            let client = try await trial.accepted(Connect(version: .v5, clientID: "c", keepAlive: 0)).client
            let payload = ByteBuffer(repeating: 0x70, count: 160 << 10)
            var bytes = PacketEncoder(version: .v5).encode(
                .publish(Publish(topic: "t", payload: payload, qos: .atLeastOnce, packetID: 1))
            )
            while let part = bytes.readSlice(length: min(bytes.readableBytes, 20 << 10)), part.readableBytes > 0 {
                try await client.send(part)
                try await trial.clock.advance(by: .milliseconds(500))
            }
            #expect(try await client.next().kind == .puback)
            try await trial.bystander.isServed()
        }
    }

    @Test("a client that the broker does not read from owes no rest of a packet")
    func standstillWhilePaused() async throws {
        try await withLimits(.held) {
            $0.drainTime = .seconds(1)
            $0.limits.uncommittedBytesMax = 1
        } _: { trial in
            let client = try await trial.accepted(Connect(version: .v5, clientID: "c", keepAlive: 0)).client
            var bytes = ByteBuffer()
            for id in 1...UInt16(2) {
                let publish = Publish(
                    topic: "t",
                    payload: ByteBuffer(string: "m".padded(to: 1_000)),
                    qos: .atLeastOnce,
                    isRetained: true,
                    packetID: id
                )
                PacketEncoder(version: .v5).encode(.publish(publish), into: &bytes)
            }
            try await client.send(bytes.take(500))
            try await trial.bystander.ping()
            try await client.send(bytes)
            let commit = try await trial.store.next()
            try await trial.clock.advance(by: .milliseconds(2_500))
            #expect(try await trial.bystander.sees(silent: client))
            commit.release()
            let releasing = Task { await trial.store.releaseAll() }
            defer { releasing.cancel() }
            for id in 1...UInt16(2) {
                #expect(
                    try await client.next()
                        == .puback(Acknowledgement(packetID: id, reasonCode: .noMatchingSubscribers))
                )
            }
            try await trial.bystander.isServed()
        }
    }

    @Test(
        "a client that the broker does not read from is not ended by its keep alive, but by the drain time"
    )
    func keepAliveWhilePaused() async throws {
        try await withLimits {
            $0.limits.sendBufferBytesUnread = 1
            $0.drainTime = .seconds(6)
        } _: { trial in
            let slow = try await SlowClient(trial.connect, keepAlive: 2)
            try await slow.subscribe("flood")
            let publisher = try await trial.connect()
            try await trial.flood("flood", by: publisher) { $0.unsentPackets >= 5 }
            // It is there, and the broker does not look.
            try await slow.send(.pingreq)
            let began = trial.clock.now
            let broker = trial.broker
            try await trial.bystander.wait(for: "its end") { broker.statistics.clientsConnected == 2 }
            #expect(began.duration(to: trial.clock.now) > .seconds(4))
            #expect(try await slow.lastReason() == .quotaExceeded)
            try await trial.bystander.isServed()
        }
    }

    @Test("some bytes of a packet are no sign of life: their sender is closed with 0x8D", arguments: [1, 200])
    func trickle(bytesAtOnce: Int) async throws {
        try await withLimits { _ in
        } _: { trial in
            let client = try await trial.accepted(Connect(version: .v5, clientID: "c", keepAlive: 1)).client
            var bytes = PacketEncoder(version: .v5).encode(
                .publish(Publish(topic: "t", payload: ByteBuffer(repeating: 0x70, count: 1 << 20)))
            )
            let began = trial.clock.now
            while client.received == 1 {
                let part = try bytes.take(bytesAtOnce)
                // It may be closed by now.
                try? await client.send(part)
                try await trial.clock.advance(by: .milliseconds(50))
                try #require(began.duration(to: trial.clock.now) < .seconds(8))
            }
            #expect(began.duration(to: trial.clock.now) > .seconds(1))
            #expect(try await client.disconnectReason() == .keepAliveTimeout)
            try await trial.bystander.isServed()
        }
    }

    @Test("a packet that came in two parts and is whole is waited for no more")
    func wholeAfterAll() async throws {
        try await withLimits {
            $0.drainTime = .seconds(1)
        } _: { trial in
            let client = try await trial.accepted(Connect(version: .v5, clientID: "c", keepAlive: 0)).client
            let payload = ByteBuffer(repeating: 0x70, count: 80 << 10)
            let publish = Packet.publish(Publish(topic: "t", payload: payload, qos: .atLeastOnce, packetID: 1))
            // After some of them the broker reads much at once.
            for _ in 0..<20 {
                try await client.send(publish)
                #expect(try await client.next().kind == .puback)
            }
            var bytes = PacketEncoder(version: .v5).encode(publish)
            try await client.send(try bytes.take(40 << 10))
            // So that the parts are read apart.
            try await trial.clock.advance(by: .milliseconds(200))
            try await client.send(bytes)
            #expect(try await client.next().kind == .puback)
            try await trial.clock.advance(by: .milliseconds(2_500))
            try await client.send(.pingreq)
            #expect(try await client.next().kind == .pingresp)
        }
    }

    @Test("16 KiB of a packet are a sign of life, however long the packet takes")
    func slowButSteady() async throws {
        try await withLimits { _ in
        } _: { trial in
            let client = try await trial.accepted(Connect(version: .v5, clientID: "c", keepAlive: 1)).client
            let payload = ByteBuffer(repeating: 0x70, count: 160 << 10)
            var bytes = PacketEncoder(version: .v5).encode(
                .publish(Publish(topic: "t", payload: payload, qos: .atLeastOnce, packetID: 1))
            )
            while let part = bytes.readSlice(length: min(bytes.readableBytes, 20 << 10)), part.readableBytes > 0 {
                try await client.send(part)
                try await trial.clock.advance(by: .milliseconds(500))
            }
            #expect(try await client.next().kind == .puback)
            try await trial.bystander.isServed()
        }
    }
}
