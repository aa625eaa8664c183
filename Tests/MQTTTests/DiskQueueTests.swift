import Foundation
import MQTT
import MQTTJournal
import MQTTPackets
import MQTTStore
import MQTTTesting
import Synchronization
import SystemPackage
import Testing

/// A directory that goes with the test.
private final class Directory: Sendable {
    let path = FileManager.default.temporaryDirectory.appending(path: "mqtt-\(UUID().uuidString)").path

    // What is left of it is the system's to tidy up.
    deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// The bounds of what a client keeps on disk.
@Suite(.timeLimit(.minutes(2))) struct DiskQueueTests {
    typealias Policy = MQTTClient.QueueLimits.Policy

    private static let nobody = ServerAddress(host: "127.0.0.1", port: 1)

    private func configuration(
        _ server: ServerAddress,
        _ store: any MessageStore,
        _ policy: Policy,
        _ change: (inout MQTTClient.QueueLimits) -> Void = { _ in }
    ) -> MQTTClient.Configuration {
        .test(server, "keeper") {
            $0.store = store
            $0.cleanStart = false
            $0.sessionExpiry = .never
            $0.queue.policy = policy
            change(&$0.queue)
        }
    }

    private func journal(_ directory: Directory) -> Journal {
        Journal(directory: directory.path, configuration: .client)
    }

    /// Hands messages over until one is refused: those that were taken.
    private func fill(_ client: MQTTClient, _ count: Int, bytes: Int = 0) async throws -> [String] {
        var taken: [String] = []
        for number in 0..<count {
            do {
                try await enqueue("\(number)", bytes: bytes, client)
                taken.append("\(number)")
            } catch MQTTError.queueFull {
                break
            }
        }
        return taken
    }

    private func enqueue(_ payload: String, bytes: Int = 0, _ client: MQTTClient) async throws {
        let padding = String(repeating: " ", count: max(0, bytes - payload.utf8.count))
        try await client.enqueue(ByteBuffer(string: payload + padding), to: "t", qos: .atLeastOnce)
    }

    /// The next messages, acknowledged.
    private func arrived(_ connection: FakeServer.Connection, _ count: Int) async throws -> [String] {
        try await connection.acknowledge(count).map { String($0.prefix { $0 != " " }) }
    }

    private func isEmpty(_ directory: Directory) async throws -> Bool {
        let journal = journal(directory)
        let state = try await journal.open()
        await journal.close()
        return state.sessions.map(\.queuedMessages) == [0]
    }

    @Test(
        "a store takes as many messages as the queue may have; with those of an earlier run the queue is full at once"
    )
    func messages() async throws {
        let directory = Directory()
        let first = configuration(Self.nobody, journal(directory), .refuseNewest) { $0.messagesMax = 5 }
        try await withClient(first) { client in
            let taken = try await fill(client, 9)
            #expect(taken == ["0", "1", "2", "3", "4"])
        }
        let server = try await FakeServer()
        let second = configuration(server.address, journal(directory), .refuseNewest) { $0.messagesMax = 5 }
        try await withClient(second) { client in
            // Who connects knows what is in the store.
            let connection = try await server.connection()
            await #expect(throws: MQTTError.queueFull) { try await enqueue("early", client) }
            try await connection.accept()
            #expect(try await arrived(connection, 5) == ["0", "1", "2", "3", "4"])
            try await client.flush()
            try await enqueue("late", client)
            #expect(try await arrived(connection, 1) == ["late"])
            try await client.flush()
        }
        #expect(try await isEmpty(directory))
    }

    @Test("where the oldest make room they leave the store too: the next run has the newest")
    func dropsOldest() async throws {
        let directory = Directory()
        let first = configuration(Self.nobody, journal(directory), .dropOldest) { $0.messagesMax = 5 }
        try await withClient(first) { client in
            let events = client.events
            let taken = try await fill(client, 9)
            #expect(taken.count == 9)
            var dropped = 0
            for await case .publishFailed(_, .dropped) in events {
                dropped += 1
                if dropped == 4 { break }
            }
        }
        let server = try await FakeServer()
        try await withClient(configuration(server.address, journal(directory), .dropOldest)) { client in
            let connection = try await server.connection()
            try await connection.accept()
            #expect(try await arrived(connection, 5) == ["4", "5", "6", "7", "8"])
            try await client.flush()
        }
        #expect(try await isEmpty(directory))
    }

    @Test("a full queue on disk: who can wait does, until the server has acknowledged, or is cancelled")
    func waits() async throws {
        let directory = Directory()
        let server = try await FakeServer()
        let limited = configuration(server.address, journal(directory), .wait) { $0.messagesMax = 3 }
        try await withClient(limited) { client in
            let connection = try await server.connection()
            for number in 0..<3 { try await enqueue("\(number)", client) }
            let cancelled = Task { try await enqueue("cancelled", client) }
            cancelled.cancel()
            await #expect(throws: MQTTError.cancelled) { try await cancelled.value }
            let waiting = Task { try await enqueue("3", client) }
            var oneAtATime = Properties()
            oneAtATime[integer: .receiveMaximum] = 1
            try await connection.accept(oneAtATime)
            #expect(try await arrived(connection, 4) == ["0", "1", "2", "3"])
            try await waiting.value
            try await client.flush()
        }
        #expect(try await isEmpty(directory))
    }

    @Test("the bytes of a queue bound what is on disk, also after the program began anew")
    func bytes() async throws {
        let directory = Directory()
        let bytesMax = 50_000
        let first = configuration(Self.nobody, journal(directory), .refuseNewest) { $0.bytesMax = bytesMax }
        var kept: [String] = []
        try await withClient(first) { client in
            kept = try await fill(client, 100, bytes: 1_000)
            // What is kept beside a message takes less room than this one does.
            #expect((25...50).contains(kept.count))
        }
        let server = try await FakeServer()
        let second = configuration(server.address, journal(directory), .refuseNewest) { $0.bytesMax = bytesMax }
        try await withClient(second) { client in
            let connection = try await server.connection()
            await #expect(throws: MQTTError.queueFull) { try await enqueue("early", client) }
            try await connection.accept()
            #expect(try await arrived(connection, kept.count) == kept)
            try await client.flush()
            while client.refuses("late") {
                try Task.checkCancellation()
                await Task.yield()
            }
            #expect(try await arrived(connection, 1) == ["late"])
            try await client.flush()
        }
        #expect(try await isEmpty(directory))
    }

    @Test("what has waited too long for a server is not on disk any more")
    func ages() async throws {
        let directory = Directory()
        let aging = configuration(Self.nobody, journal(directory), .wait) { $0.ageMax = .milliseconds(1) }
        try await withClient(aging) { client in
            let events = client.events
            let id = try await client.enqueue(ByteBuffer(), to: "t", qos: .atLeastOnce)
            for await case .publishFailed(id, .expired) in events { break }
        }
        #expect(try await isEmpty(directory))
    }

    // MARK: A full disk

    private static let room = 80_000

    private func fullable(_ directory: Directory) -> Journal {
        var configuration = JournalConfiguration()
        configuration.segmentBytes = 4_096
        configuration.reserveBytes = 8_192
        return Journal(directory: directory.path, configuration: configuration, fileSystem: SmallDisk(room: Self.room))
    }

    /// What comes up to the last of them, acknowledged.
    private func take(_ connection: FakeServer.Connection, until last: String) async throws -> [String] {
        var taken: [String] = []
        while taken.last != last { taken.append(try await take(connection)) }
        return taken
    }

    @Test("on a full disk enqueue throws at QoS 1, and takes messages again once the server has acknowledged")
    func throwsWhenFull() async throws {
        let directory = Directory()
        let server = try await FakeServer()
        try await withClient(configuration(server.address, fullable(directory), .refuseNewest)) { client in
            let connection = try await server.connection()
            let taken = try await fill(client, 1_000, bytes: 600)
            #expect((10...Self.room / 600).contains(taken.count))
            #expect(client.refuses("refused"))
            // That is not kept there.
            try await client.enqueue(ByteBuffer(string: "unkept"), to: "t")
            try await connection.accept()
            var arrived: [String] = []
            for _ in 0...taken.count { arrived.append(try await take(connection)) }
            #expect(arrived.filter { $0 != "unkept" } == taken)
            while client.refuses("again") {
                try Task.checkCancellation()
                await Task.yield()
            }
            #expect(try await take(connection) == "again")
            try await client.flush()
        }
        #expect(try await isEmpty(directory))
    }

    @Test("on a full disk enqueue waits where it may, and goes on once the server has acknowledged")
    func waitsWhenFull() async throws {
        let directory = Directory()
        let server = try await FakeServer()
        let journal = fullable(directory)
        try await withClient(configuration(server.address, journal, .wait)) { client in
            let connection = try await server.connection()
            let all = (0..<100).map(String.init)
            let handingOver = Task {
                for payload in all { try await enqueue(payload, bytes: 600, client) }
                try await enqueue("end", client)
            }
            while !journal.statistics.isFull {
                try Task.checkCancellation()
                await Task.yield()
            }
            // The client is to learn of it with the commit that filled the disk.
            var probes = 0
            while !client.refuses("probe") {
                probes += 1
                try await client.unsubscribe(from: ["nothing"])
            }
            #expect(probes < 100)
            try await connection.accept()
            let arrived = try await take(connection, until: "end")
            #expect(arrived.filter { $0 != "probe" } == all + ["end"])
            try await handingOver.value
            try await client.flush()
        }
        #expect(try await isEmpty(directory))
    }

    @Test("more than a disk has room for goes there bit by bit", arguments: [QoS.atLeastOnce, .exactlyOnce])
    func moreThanFits(_ qos: QoS) async throws {
        let directory = Directory()
        var settings = JournalConfiguration()
        settings.segmentBytes = 64 << 10
        settings.reserveBytes = 1 << 20
        let disk = SmallDisk(room: 3 << 20)
        let journal = Journal(directory: directory.path, configuration: settings, fileSystem: disk)
        let payload = ByteBuffer(repeating: 0, count: 10_000)
        try await withBroker { server in
            let client = try MQTTClient(configuration(server, journal, .wait), logger: quiet)
            let events = client.events
            // Before the client runs, so that all of it is there at once.
            let count = 800
            for _ in 0..<count { try handOver(payload, qos, client) }
            let running = Task { try await client.run() }
            var published = 0
            for await event in events {
                if case .publishFailed(_, let error) = event { Issue.record(error) }
                if case .published = event { published += 1 }
                if published == count { break }
            }
            client.disconnect()
            try await running.value
        }
        #expect(try await isEmpty(directory))
    }

    /// Where it cannot wait.
    private func handOver(_ payload: ByteBuffer, _ qos: QoS, _ client: MQTTClient) throws {
        try client.enqueue(payload, to: "t", qos: qos)
    }

    /// The next message, acknowledged where it asks for it.
    private func take(_ connection: FakeServer.Connection) async throws -> String {
        let publish = try await connection.publish()
        if let id = publish.packetID { connection.send(.puback(Acknowledgement(packetID: id))) }
        return String(String(buffer: publish.payload).prefix { $0 != " " })
    }
}

extension MQTTClient {
    /// Whether there is no room for the message, which is handed over otherwise.
    fileprivate func refuses(_ payload: String) -> Bool {
        do throws(MQTTError) {
            _ = try enqueue(ByteBuffer(string: payload), to: "t", qos: .atLeastOnce)
            return false
        } catch {
            return true
        }
    }
}
