import MQTT
import MQTTPackets
import MQTTTesting
import Testing

/// Answers to SUBSCRIBE that come late, or not at all.
@Suite(.timeLimit(.minutes(2))) struct SubscriptionFaultTests {
    private func asked(_ connection: FakeServer.Connection) async throws -> Subscribe {
        guard case .subscribe(let subscribe)? = try await connection.next() else {
            throw TimedOut(description: "SUBSCRIBE")
        }
        return subscribe
    }

    private func answer(_ subscribe: Subscribe, _ connection: FakeServer.Connection, _ code: ReasonCode) {
        connection.send(.suback(Suback(packetID: subscribe.packetID, reasonCodes: [code])))
    }

    /// What was said to each filter of a subscription that was refused.
    private func refusals(_ subscribe: () async throws -> Void) async -> [ReasonCode] {
        do { try await subscribe() } catch MQTTError.subscriptionRefused(let grants) {
            return grants.map(\.reasonCode)
        } catch {
            Issue.record(error)
        }
        return []
    }

    private func message(_ topic: String) -> Packet {
        .publish(Publish(topic: topic, payload: ByteBuffer(string: topic)))
    }

    /// A client that has subscribed to `a`, and whose server has then forgotten the session; with the SUBSCRIBE for `a` that
    /// came on the second connection.
    private func resubscribing(
        _ body: (MQTTClient, FakeServer, FakeServer.Connection, MQTTSubscription, Subscribe) async throws -> Void
    ) async throws {
        let server = try await FakeServer()
        try await withClient(.test(server.address)) { client in
            async let subscribing = client.subscribe(to: "a")
            let first = try await server.connection()
            try await first.accept()
            answer(try await asked(first), first, .success)
            let subscription = try await subscribing
            first.close()
            let second = try await server.connection()
            try await second.accept()
            try await body(client, server, second, subscription, try await asked(second))
        }
    }

    @Test("a filter that is refused again is not lost where another call for it is granted")
    func grantedToAnother() async throws {
        try await resubscribing { client, _, connection, old, again in
            async let subscribing = client.subscribe(to: "a")
            let other = try await asked(connection)
            answer(again, connection, .notAuthorized)
            answer(other, connection, .success)
            let new = try await subscribing
            connection.send(message("a"))
            #expect(await old.first(1).map(\.topic) == ["a"])
            #expect(await new.first(1).map(\.topic) == ["a"])
        }
    }

    @Test("a filter that is refused to all ends the sequences that there are, and the call that waits throws")
    func refusedToAll() async throws {
        try await resubscribing { client, _, connection, old, again in
            let subscribing = Task { try await client.subscribe(to: "a") }
            let other = try await asked(connection)
            answer(again, connection, .notAuthorized)
            answer(other, connection, .quotaExceeded)
            #expect(await refusals { _ = try await subscribing.value } == [.quotaExceeded])
            #expect(await old.first(1).isEmpty)
        }
    }

    @Test(
        "a call whose SUBSCRIBE had no answer is asked again, whatever became of an earlier one",
        arguments: [false, true]
    )
    func unanswered(_ sessionPresent: Bool) async throws {
        try await resubscribing { client, server, connection, old, again in
            async let subscribing = client.subscribe(to: "a")
            _ = try await asked(connection)
            answer(again, connection, sessionPresent ? .success : .notAuthorized)
            connection.send(message("a"))
            // The answer before it has been seen.
            if sessionPresent { #expect(await old.first(1).count == 1) }
            connection.close()
            let next = try await server.connection()
            try await next.accept(sessionPresent: sessionPresent)
            answer(try await asked(next), next, .success)
            let new = try await subscribing
            next.send(message("a"))
            #expect(await new.first(1).count == 1)
            #expect(await old.first(1).count == 1)
        }
    }

    @Test("a call throws where what was granted to it is refused before the rest is")
    func revoked() async throws {
        let server = try await FakeServer()
        try await withClient(.test(server.address)) { client in
            let subscribing = Task {
                try await client.subscribe(to: [TopicSubscription("a"), TopicSubscription("b")])
            }
            let first = try await server.connection()
            try await first.accept()
            answer(try await asked(first), first, .success)
            _ = try await asked(first)
            first.close()
            let second = try await server.connection()
            try await second.accept()
            for _ in 0..<2 {
                let subscribe = try await asked(second)
                answer(subscribe, second, subscribe.filters[0].filter == "a" ? .notAuthorized : .success)
            }
            #expect(await refusals { _ = try await subscribing.value } == [.notAuthorized, .success])
        }
    }

    @Test("[MQTT-3.2.2-15] what is larger than the server takes is not sent")
    func maximumPacketSize() async throws {
        let server = try await FakeServer()
        try await withClient(.test(server.address)) { client in
            let connection = try await server.connection()
            var properties = Properties()
            properties[integer: .maximumPacketSize] = 40
            try await connection.accept(properties)
            let long = String(repeating: "a", count: 40)
            #expect(await refusals { _ = try await client.subscribe(to: long) } == [.packetTooLarge])
            await #expect(throws: MQTTError.unsubscriptionRefused(.packetTooLarge)) {
                try await client.unsubscribe(from: [long])
            }
            var reason = Properties()
            reason[string: .reasonString] = long
            try client.disconnect(properties: reason)
            #expect(try await connection.next() == .disconnect(Disconnect(reasonCode: .success)))
        }
    }

    @Test("DISCONNECT has the properties that it is given, and none that have no place there")
    func disconnectProperties() async throws {
        let server = try await FakeServer()
        for expiry in [MQTTClient.SessionExpiry.withConnection, .after(.seconds(5))] {
            try await withClient(.test(server.address, "c", .v5) { $0.sessionExpiry = expiry }) { client in
                let connection = try await server.connection()
                try await connection.accept()
                try await client.connected()
                var wrong = Properties()
                wrong[integer: .receiveMaximum] = 1
                #expect(throws: MQTTError.self) { try client.disconnect(properties: wrong) }
                var longer = Properties()
                longer[integer: .sessionExpiryInterval] = 60
                guard expiry != .withConnection else {
                    #expect(throws: MQTTError.self) { try client.disconnect(properties: longer) }
                    return
                }
                try client.disconnect(properties: longer)
                #expect(
                    try await connection.next() == .disconnect(Disconnect(reasonCode: .success, properties: longer))
                )
            }
        }
    }

    @Test("a second call for a filter that is refused takes nothing from the first")
    func refusedSecond() async throws {
        let server = try await FakeServer()
        try await withClient(.test(server.address)) { client in
            async let subscribing = client.subscribe(to: "a")
            let first = try await server.connection()
            try await first.accept()
            answer(try await asked(first), first, .success)
            let subscription = try await subscribing
            let refused = Task { try await client.subscribe(to: "a", qos: .exactlyOnce) }
            answer(try await asked(first), first, .notAuthorized)
            #expect(await refusals { _ = try await refused.value } == [.notAuthorized])
            first.close()
            let second = try await server.connection()
            try await second.accept()
            let again = try await asked(second)
            #expect(again.filters[0].options.qos == .atMostOnce)
            answer(again, second, .success)
            second.send(message("a"))
            #expect(await subscription.first(1).count == 1)
        }
    }

    /// Breaks the connection, lets `body` do something without one, and connects again to the same session.
    private func away(
        _ client: MQTTClient,
        _ server: FakeServer,
        _ connection: FakeServer.Connection,
        sessionPresent: Bool = true,
        _ body: () async throws -> Void
    ) async throws -> FakeServer.Connection {
        let events = client.events
        connection.close()
        for await case .reconnecting in events { break }
        try await body()
        client.reconnect()
        let next = try await server.connection()
        try await next.accept(sessionPresent: sessionPresent)
        return next
    }

    /// Its session lasts, and it connects again when it is told to.
    private func lasting(_ server: FakeServer) -> MQTTClient.Configuration {
        .test(server.address, "c", .v5) {
            $0.sessionExpiry = .never
            $0.reconnect.delay = .seconds(3_600)
            $0.reconnect.delayMax = .seconds(3_600)
        }
    }

    @Test("what the server may have of a subscription that was given up meanwhile is taken back")
    func givenUp() async throws {
        let server = try await FakeServer()
        try await withClient(lasting(server)) { client in
            let first = try await server.connection()
            try await first.accept()
            let subscribing = Task { try await client.subscribe(to: "a") }
            _ = try await asked(first)
            let second = try await away(client, server, first) {
                subscribing.cancel()
                await #expect(throws: MQTTError.cancelled) { try await subscribing.value }
            }
            #expect(try await second.unsubscribe().filters == ["a"])
            let again = Task { try await client.subscribe(to: "b") }
            try await second.grant()
            let subscription = try await again.value
            let ending = Task { try await subscription.unsubscribe() }
            guard case .unsubscribe? = try await second.next() else { throw TimedOut(description: "UNSUBSCRIBE") }
            let third = try await away(client, server, second) { try await ending.value }
            #expect(try await third.unsubscribe().filters == ["b"])
        }
    }

    /// A subscription to `a` at QoS 0, and the connection that has it.
    private func subscribed(
        _ client: MQTTClient,
        _ server: FakeServer
    ) async throws -> (MQTTSubscription, FakeServer.Connection) {
        async let subscribing = client.subscribe(to: "a")
        let connection = try await server.connection()
        try await connection.accept()
        try await connection.grant()
        return (try await subscribing, connection)
    }

    @Test("where the terms of another call are refused to a new session the granted ones are asked for")
    func refusedTerms() async throws {
        let server = try await FakeServer()
        try await withClient(lasting(server)) { client in
            let (subscription, first) = try await subscribed(client, server)
            var other: Task<MQTTSubscription, any Error>?
            let second = try await away(client, server, first, sessionPresent: false) {
                other = Task { try await client.subscribe(to: "a", qos: .exactlyOnce) }
            }
            // The call may come before the connection or behind it: its terms are refused, and those before are not.
            var codes: [QoS: ReasonCode] = [:]
            while codes.count < 2 {
                let asked = try await asked(second)
                let qos = asked.filters[0].options.qos
                codes[qos] = qos == .exactlyOnce ? .notAuthorized : .success
                answer(asked, second, qos == .exactlyOnce ? .notAuthorized : .success)
            }
            #expect(await refusals { _ = try await other?.value } == [.notAuthorized])
            second.send(message("a"))
            #expect(await subscription.first(1).count == 1)
        }
    }

    @Test("a call that is cancelled before it was sent changes nothing")
    func cancelledUnsent() async throws {
        let server = try await FakeServer()
        try await withClient(lasting(server)) { client in
            let (subscription, first) = try await subscribed(client, server)
            let second = try await away(client, server, first) {
                let other = Task { try await client.subscribe(to: "a", qos: .exactlyOnce) }
                other.cancel()
                await #expect(throws: MQTTError.cancelled) { try await other.value }
            }
            try await client.connected()
            try await client.publish("next", to: "b")
            #expect(try await second.publish().topic == "b")
            second.send(message("a"))
            #expect(await subscription.first(1).count == 1)
        }
    }

    @Test("a filter that was ended, and called for in vain, while there was no connection is ended at the server")
    func endedAndCalledFor() async throws {
        let server = try await FakeServer()
        try await withClient(lasting(server)) { client in
            let (subscription, first) = try await subscribed(client, server)
            let second = try await away(client, server, first) {
                try await subscription.unsubscribe()
                let other = Task { try await client.subscribe(to: "a") }
                other.cancel()
                await #expect(throws: MQTTError.cancelled) { try await other.value }
            }
            #expect(try await second.unsubscribe().filters == ["a"])
        }
    }
}
