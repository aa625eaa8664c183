import MQTTCore
import MQTTPackets
import MQTTServer
import MQTTTesting
import NIOCore
import Testing

extension LimitTests {
    static let queueing = [
        LimitCase("in-flight", 2) { trial in try await inFlight(trial, payloadBytes: 1, sent: 2) },
        // A message of 809 bytes goes out alone.
        LimitCase("in-flight-bytes", 1_000) { trial in try await inFlight(trial, payloadBytes: 600, sent: 1) },
        LimitCase("queued-messages", 3) { trial in try await queued(trial, payloadBytes: 1, taken: 3) },
        // Two have 1,618 bytes, and their entries 96: there is no third.
        LimitCase("queued-bytes", 1_714) { trial in try await queued(trial, payloadBytes: 600, taken: 2) },
        LimitCase("queued-bytes-in-all", 1, queuedBytesInAll),
        LimitCase("stored-messages", 3) { trial in try await queued(trial, payloadBytes: 1, taken: 3) }
            .keepingMessages(),
        LimitCase("stored-bytes", 1_714) { trial in try await queued(trial, payloadBytes: 600, taken: 2) }
            .keepingMessages(),
        LimitCase("windows-in-all", 4_000, windowsInAll).keepingMessages(),
    ]

    static let sending = [
        LimitCase("send-buffer", 100 << 10, sendBuffer).with { $0.drainTime = .seconds(1) },
        LimitCase("send-buffer-paced", 1, sendBufferPaced).with {
            $0.limits.inFlightMax = 65_535
            $0.limits.inFlightBytesMax = 1 << 40
        },
        LimitCase("send-buffer-unread", 1, sendBufferUnread),
        LimitCase("send-buffers-in-all", 1, sendBuffersInAll),
    ]

    private static func inFlight(_ trial: LimitTrial, payloadBytes: Int, sent: Int) async throws {
        for version in [ProtocolVersion.v3_1_1, .v5] {
            let subscriber = try await trial.connect(version: version)
            try await subscriber.subscribe("t", .atLeastOnce)
            let publisher = try await trial.connect()
            for number in 1...5 {
                let payload = "\(number)".padded(to: payloadBytes)
                #expect(try await publisher.reason(publishing: "t", payload) == .success)
            }
            var unacknowledged: [UInt16] = []
            for number in 1...sent {
                let publish = try await subscriber.nextPublish()
                #expect(String(buffer: publish.payload) == "\(number)".padded(to: payloadBytes))
                unacknowledged.append(try #require(publish.packetID))
            }
            #expect(try await trial.bystander.sees(silent: subscriber))
            try await trial.bystander.isServed()
            try await subscriber.send(.puback(Acknowledgement(packetID: unacknowledged[0])))
            #expect(try await subscriber.nextPayload() == "\(sent + 1)".padded(to: payloadBytes))
            #expect(try await trial.bystander.sees(silent: subscriber))
            try await subscriber.leave()
        }
    }

    private static func queued(_ trial: LimitTrial, payloadBytes: Int, taken: Int) async throws {
        try await trial.sleeper("sleeper", "t", .atLeastOnce)
        let publisher = try await trial.connect()
        for number in 1...taken {
            let payload = "\(number)".padded(to: payloadBytes)
            #expect(try await publisher.reason(publishing: "t", payload) == .success)
        }
        let payload = "x".padded(to: payloadBytes)
        #expect(try await publisher.reason(publishing: "t", payload) == .quotaExceeded)
        let older = try await trial.connect(version: .v3_1_1)
        #expect(try await older.reason(publishing: "t", payload) == .success)
        #expect(trial.broker.statistics.dropped[.queueFull] == 2)
        try await trial.bystander.isServed()
        let sleeper = try await trial.connect("sleeper", expiry: 600)
        let payloads = try await sleeper.nextPayloads(taken)
        #expect(payloads == (1...taken).map { "\($0)".padded(to: payloadBytes) })
        // They are over: there is room again.
        try await sleeper.ping()
        #expect(try await publisher.reason(publishing: "t", "again") == .success)
        #expect(try await sleeper.nextPayload() == "again")
    }

    private static func queuedBytesInAll(_ trial: LimitTrial) async throws {
        try await trial.sleeper("large", "t", .atLeastOnce)
        try await trial.sleeper("small", "u", .atLeastOnce)
        let publisher = try await trial.connect()
        // The buffer of a payload is as large as the next power of two.
        let payload = "m".padded(to: 32 << 10)
        for _ in 0..<2 { #expect(try await publisher.reason(publishing: "t", payload) == .success) }
        for qos in [QoS.atLeastOnce, .exactlyOnce] {
            #expect(try await publisher.reason(publishing: "t", payload, qos) == .quotaExceeded)
        }
        #expect(trial.broker.statistics.dropped[.queueFull] == 2)
        #expect(try await publisher.reason(publishing: "u", payload) == .success)
        try await trial.bystander.isServed()
        let large = try await trial.connect("large", expiry: 600)
        #expect(try await large.nextPayloads(2) == [payload, payload])
    }

    /// What does not fit into memory comes from the store, in order, and takes no more memory than one may have.
    private static func windowsInAll(_ trial: LimitTrial) async throws {
        try await trial.sleeper("sleeper", "t", .atLeastOnce)
        let publisher = try await trial.connect()
        for number in 0..<50 {
            let payload = "\(number)".padded(to: 600)
            #expect(try await publisher.reason(publishing: "t", payload) == .success)
            #expect(trial.broker.statistics.queuedBytesInWindows < 6_000)
        }
        #expect(trial.broker.statistics.queuedBytesInStore > 40_000)
        try await trial.bystander.isServed()
        let sleeper = try await trial.connect("sleeper", expiry: 600)
        let payloads = try await sleeper.nextPayloads(50)
        #expect(payloads == (0..<50).map { "\($0)".padded(to: 600) })
        try await sleeper.ping()
        #expect(trial.broker.statistics.queuedBytesInStore == 0)
    }

    // MARK: A client that does not take what it is sent

    private static func sendBuffer(_ trial: LimitTrial) async throws {
        let slow = try await SlowClient(trial.connect)
        try await slow.subscribe("flood")
        let reader = try await trial.connect()
        try await reader.subscribe("flood")
        let publisher = try await trial.connect()
        let sent = try await trial.flood("flood", by: publisher) { $0.dropped[.backlog] > 0 }
        #expect(trial.broker.statistics.unsentBytes < 200 << 10)
        try await trial.bystander.isServed()
        for _ in 0..<sent { #expect(try await reader.nextPublish().payload.readableBytes == 64 << 10) }
        let broker = trial.broker
        try await trial.bystander.wait(for: "the end of the slow client") { broker.statistics.clientsConnected == 3 }
        // What it missed are the last ones, and then it is told.
        #expect(try await slow.lastReason() == .quotaExceeded)
        #expect(trial.broker.statistics.dropped.total == trial.broker.statistics.dropped[.backlog])
    }

    private static func sendBufferPaced(_ trial: LimitTrial) async throws {
        let slow = try await SlowClient(trial.connect)
        try await slow.subscribe("t", .atLeastOnce)
        let publisher = try await trial.connect()
        // A connection stalls once its transport takes no more: then nothing is put into its send buffer either.
        var (sent, idle) = (0, 0)
        while idle < 30 {
            guard sent < 5_000 else { throw TimedOut(description: "a stall") }
            let before = trial.broker.statistics.publishSent
            sent += 1
            #expect(try await publisher.reason(publishing: "t", "\(sent)".padded(to: 16 << 10)) == .success)
            idle = trial.broker.statistics.publishSent == before ? idle + 1 : 0
        }
        #expect(trial.broker.statistics.unsentPackets == 0)
        #expect(trial.broker.statistics.copiesUnfinished == sent)
        try await trial.bystander.isServed()
        for number in 1...sent {
            guard case .publish(let publish)? = try await slow.next() else {
                throw TimedOut(description: "no PUBLISH")
            }
            let isNext = String(buffer: publish.payload) == "\(number)".padded(to: 16 << 10)
            #expect(isNext)
        }
        #expect(trial.broker.statistics.dropped.total == 0)
    }

    private static func sendBufferUnread(_ trial: LimitTrial) async throws {
        let slow = try await SlowClient(trial.connect)
        try await slow.subscribe("flood")
        let observer = try await trial.connect()
        try await observer.subscribe("late")
        let publisher = try await trial.connect()
        let sent = try await trial.flood("flood", by: publisher) { $0.unsentPackets >= 5 }
        let received = trial.broker.statistics.publishReceived
        try await slow.send(.publish(Publish(topic: "late", payload: ByteBuffer(string: "late"))))
        #expect(try await trial.bystander.sees(silent: observer))
        #expect(trial.broker.statistics.publishReceived == received)
        try await trial.bystander.isServed()
        for _ in 0..<sent { #expect(try await slow.next()?.kind == .publish) }
        #expect(try await observer.nextPayload() == "late")
        #expect(trial.broker.statistics.dropped.total == 0)
    }

    private static func sendBuffersInAll(_ trial: LimitTrial) async throws {
        let slow = try await SlowClient(trial.connect)
        try await slow.subscribe("flood")
        let observer = try await trial.connect()
        for topic in ["late", "flood"] { try await observer.subscribe(topic) }
        let publisher = try await trial.connect()
        let sent = try await trial.flood("flood", by: publisher) { $0.dropped[.backlog] >= 5 }
        // Far below the limit of the connection itself.
        #expect(trial.broker.statistics.unsentBytes < 1 << 20)
        // Whoever takes what comes is not concerned.
        for _ in 0..<sent { #expect(try await observer.nextPayload().utf8.count == 64 << 10) }
        try await trial.bystander.isServed()
        let dropped = trial.broker.statistics.dropped[.backlog]
        for _ in 0..<(sent - Int(dropped)) { #expect(try await slow.next()?.kind == .publish) }
        // Now it does too.
        try await publisher.publish("flood", "behind")
        guard case .publish(let publish)? = try await slow.next() else {
            throw TimedOut(description: "no PUBLISH")
        }
        #expect(String(buffer: publish.payload) == "behind")
        #expect(trial.broker.statistics.dropped.total == dropped)
    }
}
