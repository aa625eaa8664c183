import MQTTCore
import MQTTPackets
import MQTTServer
import NIOCore
import Testing

@Suite("Limits of time over sockets", .timeLimit(.minutes(1))) struct LimitTimeTests {
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

    @Test("a client that the broker does not read from is not ended by its keep alive, but by the drain time")
    func keepAliveWhilePaused() async throws {
        try await withLimits {
            $0.limits.sendBufferBytesUnread = 1
            $0.drainTime = .seconds(4)
        } _: { trial in
            let slow = try await SlowClient(trial.connect, keepAlive: 1)
            try await slow.subscribe("flood")
            let publisher = try await trial.connect()
            try await trial.flood("flood", by: publisher) { $0.unsentPackets >= 5 }
            // It is there, and the broker does not look.
            try await slow.send(.pingreq)
            let began = ContinuousClock.now
            let broker = trial.broker
            try await trial.bystander.wait(for: "its end") { broker.statistics.clientsConnected == 2 }
            #expect(ContinuousClock.now - began > .seconds(3))
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
            let began = ContinuousClock.now
            while client.received == 1 {
                let part = try bytes.take(bytesAtOnce)
                // It may be closed by now.
                try? await client.send(part)
                try await Task.sleep(for: .milliseconds(50))
                try #require(ContinuousClock.now - began < .seconds(8))
            }
            #expect(ContinuousClock.now - began > .seconds(1))
            #expect(try await client.disconnectReason() == .keepAliveTimeout)
            try await trial.bystander.isServed()
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
                try await Task.sleep(for: .milliseconds(500))
            }
            #expect(try await client.next().kind == .puback)
            try await trial.bystander.isServed()
        }
    }
}
