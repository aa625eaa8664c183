import MQTTCore
import MQTTPackets
import MQTTServer
import NIOCore
import Testing

extension LimitTests {
    static let retaining = [
        LimitCase("retained-messages", 2) { trial in
            try await retained(trial)
            // What takes the place of another may also be larger.
            let publisher = try await trial.connect()
            let larger = String(repeating: "l", count: 1_000)
            #expect(try await publisher.reason(publishing: "b", larger, isRetained: true) == .noMatchingSubscribers)
            #expect(try await retainedPayloads(trial, count: 2) == [larger, "new".padded(to: 100)])
        },
        // Two messages of 309 bytes, and no third.
        LimitCase("retained-bytes", 800, retained),
    ]

    static let committing = [
        LimitCase("uncommitted-bytes", 2_000, uncommittedBytes).holdingCommits(),
        LimitCase("uncommitted-bytes-in-all", 3_000, uncommittedBytesInAll).holdingCommits(),
    ]

    /// What a new subscription is sent.
    private static func retainedPayloads(_ trial: LimitTrial, count: Int) async throws -> [String] {
        let client = try await trial.connect()
        try await client.subscribe("+")
        var payloads: [String] = []
        for _ in 0..<count { payloads.append(try await client.nextPayload()) }
        try await client.ping()
        try await client.leave()
        return payloads
    }

    /// Two are retained, and there is no room for a third.
    private static func retained(_ trial: LimitTrial) async throws {
        let publisher = try await trial.connect()
        let subscriber = try await trial.connect()
        try await subscriber.subscribe("heard/#")
        for topic in ["a", "b"] {
            let payload = topic.padded(to: 100)
            #expect(try await publisher.reason(publishing: topic, payload, isRetained: true) == .noMatchingSubscribers)
        }
        for qos in [QoS.atLeastOnce, .exactlyOnce] {
            let payload = "m".padded(to: 100)
            #expect(try await publisher.reason(publishing: "unheard", payload, qos, isRetained: true) == .quotaExceeded)
            // Twice with one packet identifier: after the error it was free again.
            for heard in ["heard/1", "heard/2"] {
                #expect(try await publisher.reason(publishing: heard, payload, qos, isRetained: true) == .success)
                #expect(try await subscriber.nextPayload() == payload)
                guard qos == .exactlyOnce else { continue }
                try await publisher.send(.pubrel(Acknowledgement(packetID: 1)))
                #expect(try await publisher.next().kind == .pubcomp)
            }
        }
        let older = try await trial.connect(version: .v3_1_1)
        #expect(try await older.reason(publishing: "unheard", "m".padded(to: 100), isRetained: true) == .success)
        #expect(trial.broker.statistics.dropped[.notRetained] == 7)
        #expect(trial.broker.statistics.retainedMessages == 2)
        try await trial.bystander.isServed()

        let new = "new".padded(to: 100)
        #expect(try await publisher.reason(publishing: "a", new, isRetained: true) == .noMatchingSubscribers)
        #expect(try await retainedPayloads(trial, count: 2) == [new, "b".padded(to: 100)])
        // One that is cleared makes room for another.
        #expect(try await publisher.reason(publishing: "a", "", isRetained: true) == .noMatchingSubscribers)
        #expect(try await publisher.reason(publishing: "c", new, isRetained: true) == .noMatchingSubscribers)
        #expect(try await retainedPayloads(trial, count: 2) == ["b".padded(to: 100), new])
        #expect(trial.broker.statistics.dropped[.notRetained] == 7)
    }

    private static func uncommittedBytes(_ trial: LimitTrial) async throws {
        let observer = try await trial.connect()
        try await observer.subscribe("late")
        let client = try await trial.connect()
        let payload = "m".padded(to: 1_500)
        for id in 1...UInt16(2) { try await client.publish("t/\(id)", payload, .atLeastOnce, id: id, isRetained: true) }
        let commit = try await trial.store.next()
        // At QoS 0 it would go out at once, were it read.
        try await client.publish("late", "late")
        try await client.send(.pingreq)
        #expect(try await trial.bystander.sees(silent: observer))
        #expect(trial.broker.statistics.publishReceived == 2)
        try await trial.bystander.isServed(.atMostOnce)
        commit.release()
        let releasing = Task { await trial.store.releaseAll() }
        defer { releasing.cancel() }
        for id in 1...UInt16(2) {
            let answer = Acknowledgement(packetID: id, reasonCode: .noMatchingSubscribers)
            #expect(try await client.next() == .puback(answer))
        }
        #expect(try await client.next() == .pingresp)
        #expect(try await observer.nextPayload() == "late")
        try await trial.bystander.isServed()
    }

    private static func uncommittedBytesInAll(_ trial: LimitTrial) async throws {
        let observer = try await trial.connect()
        try await observer.subscribe("late")
        let clients = [try await trial.connect(), try await trial.connect()]
        for (at, client) in clients.enumerated() {
            try await client.publish("t/\(at)", "m".padded(to: 1_500), .atLeastOnce, id: 1, isRetained: true)
        }
        let broker = trial.broker
        try await trial.bystander.wait(for: "two messages") { broker.statistics.publishReceived == 2 }
        #expect(broker.statistics.uncommittedBytes >= 3_000)
        let commit = try await trial.store.next()
        for client in clients {
            try await client.publish("late", "late")
            try await client.send(.pingreq)
        }
        #expect(try await trial.bystander.sees(silent: observer))
        #expect(broker.statistics.publishReceived == 2)
        try await trial.bystander.isServed(.atMostOnce)
        commit.release()
        let releasing = Task { await trial.store.releaseAll() }
        defer { releasing.cancel() }
        for client in clients {
            #expect(try await client.next().kind == .puback)
            #expect(try await client.next() == .pingresp)
            #expect(try await observer.nextPayload() == "late")
        }
        #expect(broker.statistics.uncommittedBytes == 0)
        try await trial.bystander.isServed()
    }
}

extension String {
    /// Filled up with dots.
    func padded(to bytes: Int) -> String { self + String(repeating: ".", count: bytes - utf8.count) }
}
