import Foundation
import MQTT
import MQTTJournal
import MQTTPackets
import MQTTStore
import MQTTStoreTesting
import MQTTTesting
import NIOCore
import Testing

@Suite(.timeLimit(.minutes(2))) struct StoreTests {
    private static let nobody = ServerAddress(host: "127.0.0.1", port: 1)

    private func configuration(
        _ server: ServerAddress,
        _ store: any MessageStore,
        _ change: (inout MQTTClient.Configuration) -> Void = { _ in }
    ) -> MQTTClient.Configuration {
        .test(server, "keeper") {
            $0.store = store
            $0.cleanStart = false
            $0.sessionExpiry = .never
            change(&$0)
        }
    }

    private func payload(_ publish: Publish) -> String { String(buffer: publish.payload) }

    @Test(
        "what was enqueued without a server is published by the next run, in order",
        arguments: [QoS.atLeastOnce, .exactlyOnce]
    )
    func survives(_ qos: QoS) async throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "mqtt-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let first = configuration(Self.nobody, Journal(directory: directory, configuration: .client))
        try await withClient(first) { client in
            for number in 0..<100 {
                try await client.enqueue(ByteBuffer(string: "\(number)"), to: "t", qos: qos)
            }
        }
        try await withBroker { server in
            try await withClient(.test(server, "receiver")) { receiver in
                let subscription = try await receiver.subscribe(to: "t", qos: qos)
                let store = Journal(directory: directory, configuration: .client)
                try await withClient(configuration(server, store)) { client in
                    try await client.publish("last", to: "t", qos: qos)
                    let payloads = await subscription.first(101).map(\.payloadString)
                    #expect(payloads == (0..<100).map(String.init) + ["last"])
                }
            }
        }
        // Nothing is left for a third.
        let third = Journal(directory: directory, configuration: .client)
        #expect(try await third.open().sessions.map(\.queuedMessages) == [0])
        await third.close()
    }

    @Test("PUBLISH at QoS 2, PUBREL, PUBREC and PUBCOMP wait for the store; QoS 1 does not")
    func waits() async throws {
        let store = HeldStore()
        let server = try await FakeServer()
        try await withClient(configuration(server.address, store)) { client in
            let connection = try await server.connection()
            let subscribing = Task { try await client.subscribe(to: "in", qos: .exactlyOnce) }
            try await connection.accept()
            guard case .subscribe(let subscribe)? = try await connection.next() else { throw TimedOut(description: "") }
            connection.send(.suback(Suback(packetID: subscribe.packetID, reasonCodes: [ReasonCode(rawValue: 2)])))
            let messages = try await subscribing.value

            // What comes only once the store is released: a message of QoS 0 passes it.
            func held(_ body: () async throws -> Void, _ kind: PacketKind) async throws -> Packet {
                store.hold()
                try await body()
                try await client.publish("meanwhile", to: "t")
                let before = try await connection.next()
                #expect(before?.kind == .publish)
                store.release()
                let after = try await connection.next()
                #expect(after?.kind == kind)
                return try #require(after)
            }

            store.hold()
            let publishing = Task { try await client.publish("m", to: "t", qos: .exactlyOnce) }
            try await client.publish("one", to: "t", qos: .atMostOnce)
            #expect(payload(try await connection.publish()) == "one")
            store.release()
            let publish = try await connection.publish()
            let id = try #require(publish.packetID)
            #expect(payload(publish) == "m" && publish.qos == .exactlyOnce)
            _ = try await held(
                { try await roundTrip(connection, .pubrec(Acknowledgement(packetID: id)), client) },
                .pubrel
            )
            connection.send(.pubcomp(Acknowledgement(packetID: id)))
            _ = try await publishing.value

            let incoming = Publish(topic: "in", payload: ByteBuffer(string: "x"), qos: .exactlyOnce, packetID: 7)
            connection.send(.publish(incoming))
            _ = try await held({ _ = await messages.first(1) }, .pubrec)
            _ = try await held(
                { try await roundTrip(connection, .pubrel(Acknowledgement(packetID: 7)), client) },
                .pubcomp
            )
        }
    }

    /// Returns once the client has handled the packet, which the answer to a SUBSCRIBE shows.
    private func roundTrip(_ connection: FakeServer.Connection, _ packet: Packet, _ client: MQTTClient) async throws {
        connection.send(packet)
        let subscribing = Task { try await client.subscribe(to: "round/trip/\(packet.kind)") }
        guard case .subscribe(let subscribe)? = try await connection.next() else {
            throw TimedOut(description: "no SUBSCRIBE")
        }
        connection.send(.suback(Suback(packetID: subscribe.packetID, reasonCodes: [.success])))
        let subscription = try await subscribing.value
        let ending = Task { try await subscription.unsubscribe() }
        guard case .unsubscribe(let unsubscribe)? = try await connection.next() else {
            throw TimedOut(description: "no UNSUBSCRIBE")
        }
        connection.send(.unsuback(Unsuback(packetID: unsubscribe.packetID, reasonCodes: [.success])))
        try await ending.value
    }

    @Test("enqueue returns once the store has the message")
    func accepts() async throws {
        let store = HeldStore()
        try await withClient(configuration(Self.nobody, store)) { client in
            for number in 0..<10 {
                try await client.enqueue(ByteBuffer(string: "\(number)"), to: "t", qos: .atLeastOnce)
                #expect(store.contents.messages(of: 1, from: 0).count == number + 1)
            }
        }
    }

    @Test("a store that fails ends the client, and what it was given is not accepted")
    func fails() async throws {
        let store = HeldStore()
        let client = try MQTTClient(configuration(Self.nobody, store), logger: quiet)
        let running = Task { try await client.run() }
        try await client.enqueue(ByteBuffer(string: "kept"), to: "t", qos: .atLeastOnce)
        store.fail()
        await #expect(throws: MQTTError.self) {
            try await client.enqueue(ByteBuffer(string: "lost"), to: "t", qos: .atLeastOnce)
        }
        await #expect(throws: MQTTError.storeFailed("Refused()")) { try await running.value }
        #expect(store.contents.messages(of: 1, from: 0).count == 1)
    }

    @Test("a message that has waited too long is not taken up, nor one whose expiry has passed")
    func aged() async throws {
        var contents = StoreContents()
        contents.apply([
            // It was an hour ago.
            .broker(
                StoredBroker(
                    time: 5_000,
                    wallClock: wallClock() - 3_600_000,
                    lastIncarnation: 1,
                    lastRetainedVersion: 0
                )
            ),
            .sessionBegan(incarnation: 1, clientID: "keeper", expiryInterval: .max),
            .queued(stored(0, queuedAt: 5), incarnation: 1),
            .queued(stored(1, queuedAt: 3_604), incarnation: 1),
            .queued(stored(2, queuedAt: 3_604, expiresAt: 6_000), incarnation: 1),
        ])
        let server = try await FakeServer()
        let store = HeldStore(contents)
        try await withClient(configuration(server.address, store) { $0.queue.ageMax = .seconds(600) }) { client in
            let connection = try await server.connection()
            try await connection.accept(sessionPresent: true)
            let only = try await connection.publish()
            #expect(payload(only) == "1")
            connection.send(.puback(Acknowledgement(packetID: try #require(only.packetID))))
            try await client.flush()
        }
        #expect(store.contents.messages(of: 1, from: 0).isEmpty)
    }

    private func wallClock() -> Int64 { Int64(Date().timeIntervalSince1970 * 1_000) }

    private func stored(_ number: UInt64, queuedAt seconds: UInt32, expiresAt: Int64 = .max) -> StoredMessage {
        let publish = Publish(topic: "t", payload: ByteBuffer(string: "\(number)"), qos: .atLeastOnce)
        return StoredMessage(
            number: number,
            message: Message(publish, expiresAt: expiresAt),
            qos: .atLeastOnce,
            identifiers: [seconds]
        )
    }

    @Test("a store is one client's, and asks for a session that lasts")
    func refuses() async throws {
        let store = HeldStore()
        try await withClient(configuration(Self.nobody, store)) { client in
            try await client.enqueue(ByteBuffer(), to: "t", qos: .atLeastOnce)
        }
        let other = try MQTTClient(configuration(Self.nobody, store) { $0.clientID = "other" }, logger: quiet)
        await #expect(throws: MQTTError.self) { try await other.run() }
        for change: (inout MQTTClient.Configuration) -> Void in [
            { $0.cleanStart = true }, { $0.sessionExpiry = .withConnection },
        ] {
            #expect(throws: MQTTError.self) { try MQTTClient(configuration(Self.nobody, store, change), logger: quiet) }
        }
        // Without an identifier the client has that of the store.
        let server = try await FakeServer()
        try await withClient(configuration(server.address, store) { $0.clientID = "" }) { _ in
            let connect = try await server.connection().accept()
            #expect(connect.clientID == "keeper")
        }
    }

    @Test("a message on which every connection breaks is given up, and those behind it arrive")
    func poison() async throws {
        let server = try await FakeServer(.v3_1_1)
        let configuration = MQTTClient.Configuration.test(server.address, "c", .v3_1_1) {
            $0.cleanStart = false
            $0.queue.attemptsMax = 2
        }
        try await withClient(configuration) { client in
            let poison = Task { try await client.publish("poison", to: "t", qos: .exactlyOnce) }
            var connection = try await server.connection()
            try await connection.accept()
            _ = try await connection.publish()
            let other = Task { try await client.publish("other", to: "t", qos: .exactlyOnce) }
            _ = try await connection.publish()
            connection.close()
            for _ in 0..<2 {
                connection = try await server.connection()
                try await connection.accept(sessionPresent: true)
                #expect(payload(try await connection.publish()) == "poison")
                connection.close()
            }
            await #expect(throws: MQTTError.attemptsExhausted) { try await poison.value }
            connection = try await server.connection()
            try await connection.accept(sessionPresent: true)
            let publish = try await connection.publish()
            #expect(payload(publish) == "other")
            let id = try #require(publish.packetID)
            connection.send(.pubrec(Acknowledgement(packetID: id)))
            #expect(try await connection.next()?.kind == .pubrel)
            connection.send(.pubcomp(Acknowledgement(packetID: id)))
            _ = try await other.value
        }
    }
}
