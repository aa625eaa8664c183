import Foundation
import MQTTJournal
import MQTTPackets
import MQTTServer
import MQTTTesting
import NIOCore
import Testing

/// The table of what waits for what, over a journal whose syncs wait for the test.
@Suite(.timeLimit(.minutes(1))) struct SyncTests {
    @Test("[MQTT-4.3.2-4] PUBACK leaves after the sync")
    func puback() async throws {
        try await withHeldSyncs { scene in
            let client = try await scene.connect()
            try await scene.expect(.puback, to: client) {
                try await client.publish("t", "m", .atLeastOnce, id: 1, isRetained: true)
            }
        }
    }

    @Test("[MQTT-4.3.3-8] PUBREC leaves after the sync, and so does PUBCOMP")
    func pubrecAndPubcomp() async throws {
        try await withHeldSyncs { scene in
            let client = try await scene.connect("c", expiry: 60)
            try await scene.expect(.pubrec, to: client) { try await client.publish("t", "m", .exactlyOnce, id: 1) }
            try await scene.expect(.pubcomp, to: client) {
                try await client.send(.pubrel(Acknowledgement(packetID: 1)))
            }
        }
    }

    @Test("a QoS 2 PUBLISH to a persistent session leaves after the sync, and so does PUBREL")
    func publishAndPubrel() async throws {
        try await withHeldSyncs { scene in
            let publisher = try await scene.connect()
            let subscriber = try await scene.connect("s", expiry: 60)
            try await subscriber.subscribe("t", .exactlyOnce)
            let publish = try await scene.expect(.publish, to: subscriber) {
                try await publisher.publish("t", "m", .exactlyOnce, id: 1)
            }
            guard case .publish(let sent) = publish, let id = sent.packetID else {
                Issue.record("\(publish)")
                return
            }
            try await scene.expect(.pubrel, to: subscriber) {
                try await subscriber.send(.pubrec(Acknowledgement(packetID: id)))
            }
        }
    }

    @Test("SUBACK and UNSUBACK of a persistent session leave after the sync")
    func subackAndUnsuback() async throws {
        try await withHeldSyncs { scene in
            let client = try await scene.connect("c", expiry: 60)
            let filters = [Subscribe.Filter("t", SubscriptionOptions(qos: .atLeastOnce))]
            try await scene.expect(.suback, to: client) {
                try await client.send(.subscribe(Subscribe(packetID: 1, filters: filters)))
            }
            try await scene.expect(.unsuback, to: client) {
                try await client.send(.unsubscribe(Unsubscribe(packetID: 2, filters: ["t"])))
            }
        }
    }

    @Test("CONNACK leaves after the sync, of a new session and of one that is resumed")
    func connack() async throws {
        try await withHeldSyncs { scene in
            for sessionPresent in [false, true] {
                let client = try await scene.transport()
                let packet = try await scene.expect(.connack, to: client) {
                    try await client.sendConnect("c", expiry: 60)
                }
                guard case .connack(let connack) = packet else { continue }
                #expect(connack.sessionPresent == sessionPresent)
                try await client.send(.disconnect(Disconnect()))
                #expect(try await client.nextOrEnd() == nil)
            }
        }
    }

    @Test("a repeated PUBLISH has no answer of its own before the sync, and no second one after it")
    func repeatedPublish() async throws {
        try await withHeldSyncs { scene in
            let client = try await scene.connect("c", expiry: 60)
            try await scene.expect(.pubrec, to: client) {
                for _ in 0..<3 { try await client.publish("t", "m", .exactlyOnce, id: 1) }
            }
            try await client.ping()
        }
    }

    @Test("what is repeated on a new connection is answered after the sync of what came on the one before")
    func repeatedAfterTakeover() async throws {
        try await withHeldSyncs { scene in
            let first = try await scene.connect("c", expiry: 60)
            let second = try await scene.transport()
            try await scene.hold { try await first.publish("t", "m", .exactlyOnce, id: 1) }
            try await second.sendConnect("c", expiry: 60)
            try await second.publish("t", "m", .exactlyOnce, id: 1)
            try await scene.othersAreServed()
            #expect(second.received == 0)
            scene.release()
            #expect(try await second.next().kind == .connack)
            #expect(try await second.next() == .pubrec(Acknowledgement(packetID: 1)))
        }
    }

    @Test("the close after a DISCONNECT comes after the sync of its effect on will and expiry")
    func close() async throws {
        try await withHeldSyncs { scene in
            let will = Will(topic: "w", payload: ByteBuffer(string: "gone"))
            for expiry in [0, 60] as [UInt32] {
                let client = try await scene.connect("c\(expiry)", will: will, expiry: expiry)
                try await scene.hold { try await client.send(.disconnect(Disconnect())) }
                try await scene.othersAreServed()
                #expect(!client.isClosed)
                scene.release()
                #expect(try await client.nextOrEnd() == nil)
            }
        }
    }

    @Test("PUBLISH at QoS 0 and 1 waits for nothing")
    func publishAtMostAndAtLeastOnce() async throws {
        try await withHeldSyncs { scene in
            let publisher = try await scene.connect()
            let subscriber = try await scene.connect("s", expiry: 60)
            try await subscriber.subscribe("t", .atLeastOnce)
            try await scene.hold {
                try await publisher.publish("t", "at least once", .atLeastOnce, id: 1, isRetained: true)
            }
            try await publisher.publish("t", "at most once")
            #expect(try await subscriber.nextPayload() == "at least once")
            #expect(try await subscriber.nextPayload() == "at most once")
            #expect(publisher.received == 1)
            scene.release()
            #expect(try await publisher.next().kind == .puback)
        }
    }
}

/// A broker with one loop on a journal whose syncs can be held.
private struct HeldScene {
    let disk: HeldFileSystem
    let connect: Connector
    /// Has nothing to do with the store: its pings are answered whatever waits.
    let other: TestClient

    func connect(_ clientID: String = "", will: Will? = nil, expiry: UInt32 = 0) async throws -> TestClient {
        try await connect(clientID, will: will, expiry: expiry)
    }

    func transport() async throws -> TestClient { try await connect.transport() }
    func release() { disk.release() }

    /// Comes back when the loop has turned many times.
    func othersAreServed() async throws {
        for _ in 0..<30 { try await other.ping() }
    }

    /// Does something whose sync waits from then on.
    func hold(_ body: () async throws -> Void) async throws {
        disk.hold()
        try await body()
        try await disk.nextWait()
    }

    /// Whatever `body` does is answered with such a packet, after the sync and not before it.
    @discardableResult
    func expect(
        _ kind: PacketKind,
        to client: TestClient,
        _ body: () async throws -> Void
    ) async throws -> Packet {
        let before = client.received
        try await hold(body)
        try await othersAreServed()
        #expect(client.received == before, "before the sync")
        release()
        let packet = try await client.next()
        #expect(packet.kind == kind)
        return packet
    }
}

private func withHeldSyncs(_ body: (HeldScene) async throws -> Void) async throws {
    let directory = FileManager.default.temporaryDirectory.appending(path: "apus-sync-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: directory) }
    let disk = HeldFileSystem()
    // Whatever happens: nobody could end the journal's thread.
    defer { disk.release() }
    var configuration = JournalConfiguration()
    configuration.segmentBytes = 1 << 20
    let journal = Journal(directory: directory.path, configuration: configuration, fileSystem: disk)
    try await withBroker(testBroker(threads: 1, store: journal)) { _, connect in
        defer { disk.release() }
        try await body(HeldScene(disk: disk, connect: connect, other: try await connect()))
    }
}
