import MQTT
import MQTTPackets
import MQTTTesting
import Testing

@Suite(.timeLimit(.minutes(2))) struct ReconnectTests {
    private func session(_ configuration: inout MQTTClient.Configuration) { configuration.sessionExpiry = .never }

    @Test("[MQTT-4.4.0-1] with the session there, what was in flight is sent again: PUBLISH with DUP, and PUBREL")
    func resumes() async throws {
        let server = try await FakeServer()
        try await withClient(.test(server.address, "c", .v5, session)) { client in
            let first = try await server.connection()
            try await first.accept()
            async let once: ReasonCode = client.publish("one", to: "t", qos: .atLeastOnce)
            let publish = try await first.publish()
            async let twice: ReasonCode = client.publish("two", to: "t", qos: .exactlyOnce)
            let second = try await first.publish()
            first.send(.pubrec(Acknowledgement(packetID: second.packetID ?? 0)))
            #expect(try await first.next()?.kind == .pubrel)
            first.close()

            let next = try await server.connection()
            let connect = try await next.accept(sessionPresent: true)
            #expect(!connect.cleanStart)
            let again = try await next.publish()
            #expect(again.isDuplicate && again.packetID == publish.packetID && again.payload == publish.payload)
            #expect(try await next.next() == .pubrel(Acknowledgement(packetID: second.packetID ?? 0)))
            next.send(.puback(Acknowledgement(packetID: again.packetID ?? 0, reasonCode: .noMatchingSubscribers)))
            next.send(.pubcomp(Acknowledgement(packetID: second.packetID ?? 0)))
            #expect(try await once == .noMatchingSubscribers)
            #expect(try await twice == .success)
        }
    }

    @Test(
        """
        a session that is there after a CONNECT without an answer may be a new one: filters are subscribed to again, without \
        their retained messages
        """
    )
    func doubtful() async throws {
        let server = try await FakeServer()
        try await withClient(.test(server.address)) { client in
            async let subscribing = client.subscribe(to: "a", qos: .atLeastOnce)
            let first = try await server.connection()
            try await first.accept()
            guard case .subscribe(let asked)? = try await first.next() else { throw TimedOut(description: "SUBSCRIBE") }
            first.send(.suback(Suback(packetID: asked.packetID, reasonCodes: [.grantedQoS1])))
            let subscription = try await subscribing
            first.close()

            let lost = try await server.connection()
            guard case .connect? = try await lost.next() else { throw TimedOut(description: "CONNECT") }
            lost.close()

            let third = try await server.connection()
            try await third.accept(sessionPresent: true)
            guard case .subscribe(let again)? = try await third.next() else { throw TimedOut(description: "SUBSCRIBE") }
            #expect(again.filters.map(\.filter) == ["a"])
            #expect(again.filters.map(\.options.retainHandling) == [.ifNew])
            third.send(.suback(Suback(packetID: again.packetID, reasonCodes: [.grantedQoS1])))
            third.send(.publish(Publish(topic: "a", payload: ByteBuffer(string: "m"))))
            #expect(await subscription.first(1).map(\.payloadString) == ["m"])
            third.close()

            // Nothing is in doubt any more: the next packet is the publish.
            let fourth = try await server.connection()
            try await fourth.accept(sessionPresent: true)
            try await client.publish("x", to: "b")
            #expect(try await fourth.publish().topic == "b")
        }
    }

    @Test("a connection that ends within a packet leaves nothing to the next one", arguments: ProtocolVersion.allCases)
    func cutWithinPacket(_ version: ProtocolVersion) async throws {
        let server = try await FakeServer(version)
        try await withClient(.test(server.address, "c", version)) { client in
            let first = try await server.connection()
            try await first.accept()
            let publish = Publish(topic: "t", payload: ByteBuffer(repeating: 0, count: 200))
            var bytes = PacketEncoder(version: version).encode(.publish(publish))
            first.send(bytes.readSlice(length: 100) ?? bytes)
            first.close()
            let next = try await server.connection()
            try await next.accept()
            try await client.publish("m", to: "t", qos: .atMostOnce)
            _ = try await next.publish()
        }
    }

    @Test("without the session the filters are subscribed to again, and messages are sent as new ones")
    func resubscribes() async throws {
        let server = try await FakeServer()
        try await withClient(.test(server.address)) { client in
            async let subscribing = client.subscribe(to: "a/#", qos: .atLeastOnce)
            let first = try await server.connection()
            try await first.accept()
            guard case .subscribe(let asked)? = try await first.next() else { throw TimedOut(description: "SUBSCRIBE") }
            first.send(.suback(Suback(packetID: asked.packetID, reasonCodes: [.grantedQoS1])))
            let subscription = try await subscribing
            async let publishing: ReasonCode = client.publish("m", to: "t", qos: .atLeastOnce)
            _ = try await first.publish()
            first.close()

            let next = try await server.connection()
            try await next.accept()
            var kinds: [PacketKind] = []
            for _ in 0..<2 {
                switch try await next.next() {
                case .subscribe(let again)?:
                    #expect(again.filters == asked.filters && again.properties == asked.properties)
                    next.send(.suback(Suback(packetID: again.packetID, reasonCodes: [.grantedQoS1])))
                    kinds.append(.subscribe)
                case .publish(let publish)?:
                    #expect(!publish.isDuplicate)
                    next.send(.puback(Acknowledgement(packetID: publish.packetID ?? 0)))
                    kinds.append(.publish)
                case let other: Issue.record("\(String(describing: other))")
                }
            }
            #expect(Set(kinds) == [.subscribe, .publish])
            _ = try await publishing
            next.send(.publish(Publish(topic: "a/b", payload: ByteBuffer(string: "still"))))
            #expect(await subscription.first(1).map(\.payloadString) == ["still"])
        }
    }

    @Test("a filter that the server does not grant again ends its sequence, and an event tells")
    func subscriptionLost() async throws {
        let server = try await FakeServer()
        try await withClient(.test(server.address)) { client in
            let events = client.events
            async let subscribing = client.subscribe(to: "a")
            for code in [ReasonCode.success, .notAuthorized] {
                let connection = try await server.connection()
                try await connection.accept()
                guard case .subscribe(let asked)? = try await connection.next() else {
                    throw TimedOut(description: "SUBSCRIBE")
                }
                connection.send(.suback(Suback(packetID: asked.packetID, reasonCodes: [code])))
                guard code == .success else { break }
                _ = try await subscribing
                connection.close()
            }
            for await event in events {
                guard case .subscriptionLost(let filter, let code) = event else { continue }
                #expect(filter == "a" && code == .notAuthorized)
                break
            }
            let subscription = try await subscribing
            #expect(await subscription.first(1).isEmpty)
        }
    }

    @Test("events tell of connections, losses and attempts, in order")
    func events() async throws {
        let server = try await FakeServer()
        let client = try MQTTClient(.test(server.address), logger: quiet)
        let events = client.events
        let running = Task { try await client.run() }
        let first = try await server.connection()
        try await first.accept()
        try await client.connected()
        first.send(.disconnect(Disconnect(reasonCode: .serverShuttingDown)))
        let second = try await server.connection()
        var properties = Properties()
        properties[string: .assignedClientIdentifier] = "given"
        try await second.accept(properties)
        while case .connected(let connection) = client.connectionState, connection.clientID != "given" {
            await Task.yield()
        }
        try await client.connected()
        client.disconnect()
        #expect(try await second.next()?.kind == .disconnect)
        second.close()
        try await running.value
        var seen: [String] = []
        for await event in events {
            switch event {
            case .connected(let connection): seen.append("connected \(connection.clientID)")
            case .disconnected(let error): seen.append("\(error.reasonCode?.description ?? "lost")")
            case .reconnecting(_, let attempt): seen.append("attempt \(attempt)")
            case .closed(let error): seen.append("closed \(error == nil)")
            default: seen.append("\(event)")
            }
        }
        #expect(seen == ["connected ", "server shutting down (0x8B)", "attempt 1", "connected given", "closed true"])
    }

    @Test("what cannot be mended by trying again ends run()")
    func hopeless() async throws {
        for code in [ReasonCode.badUserNameOrPassword, .notAuthorized, .clientIdentifierNotValid] {
            let server = try await FakeServer()
            let client = try MQTTClient(.test(server.address), logger: quiet)
            let running = Task { try await client.run() }
            let connection = try await server.connection()
            guard case .connect? = try await connection.next() else { throw TimedOut(description: "CONNECT") }
            connection.send(.connack(Connack(sessionPresent: false, reasonCode: code)))
            await #expect(throws: MQTTError.refused(code, Properties())) { try await running.value }
        }
        let server = try await FakeServer()
        let client = try MQTTClient(.test(server.address), logger: quiet)
        let running = Task { try await client.run() }
        let connection = try await server.connection()
        try await connection.accept()
        connection.send(.disconnect(Disconnect(reasonCode: .sessionTakenOver)))
        await #expect(throws: MQTTError.disconnected(.sessionTakenOver, Properties())) { try await running.value }
    }

    @Test("a bounded number of attempts, over all servers in turn, each prepared afresh")
    func bounded() async throws {
        let configuration = MQTTClient.Configuration.test(ServerAddress(host: "127.0.0.1", port: 1)) {
            $0.servers.append(ServerAddress(host: "127.0.0.1", port: 2))
            $0.reconnect.attemptsMax = 3
            $0.prepareConnection = { attempt in attempt.userName = "\(attempt.number)" }
        }
        let client = try MQTTClient(configuration, logger: quiet)
        let events = client.events
        await #expect(throws: MQTTError.self) { try await client.run() }
        var failures = 0
        for await case .disconnected in events { failures += 1 }
        #expect(failures == 4)
    }

    @Test("[MQTT-4.11.0-1] a server that sends the client elsewhere is obeyed")
    func reference() async throws {
        let (old, new) = (try await FakeServer(), try await FakeServer())
        try await withClient(.test(old.address) { $0.userName = "u" }) { client in
            let first = try await old.connection()
            guard case .connect? = try await first.next() else { throw TimedOut(description: "CONNECT") }
            var properties = Properties()
            properties[string: .serverReference] = "127.0.0.1:\(new.address.port)"
            first.send(.connack(Connack(sessionPresent: false, reasonCode: .useAnotherServer, properties: properties)))
            let second = try await new.connection()
            #expect(try await second.accept().userName == "u")
            #expect(try await client.connected().server == new.address)
        }
    }

    @Test("it is the same client there, also where the URL says who it is")
    func referenceWithCredentials() async throws {
        let (old, new) = (try await FakeServer(), try await FakeServer())
        var address = old.address
        (address.userName, address.password) = ("u", "p")
        try await withClient(.test(address)) { _ in
            let first = try await old.connection()
            guard case .connect? = try await first.next() else { throw TimedOut(description: "CONNECT") }
            var properties = Properties()
            properties[string: .serverReference] = "127.0.0.1:\(new.address.port)"
            first.send(.connack(Connack(sessionPresent: false, reasonCode: .useAnotherServer, properties: properties)))
            let connect = try await new.connection().accept()
            #expect(connect.userName == "u")
            #expect(connect.password == ByteBuffer(string: "p"))
        }
    }

    @Test("a list of servers is tried in turn, by who waits for the first connection too")
    func nextServer() async throws {
        try await withBroker { server in
            var configuration = MQTTClient.Configuration.test(server)
            configuration.servers.insert(ServerAddress(host: "127.0.0.1", port: 1), at: 0)
            let connected = try await MQTTClient.withConnection(configuration, logger: quiet) { client in
                try await client.connected().server
            }
            #expect(connected == server)
            configuration.servers = [configuration.servers[0], configuration.servers[0]]
            let nobody = configuration
            await #expect(throws: MQTTError.self) {
                try await MQTTClient.withConnection(nobody, logger: quiet) { _ in }
            }
        }
    }

    @Test("delays double up to the longest, with chance taking part of them, and begin anew after a success")
    func backoff() {
        var policy = ReconnectPolicy()
        policy.delay = .seconds(1)
        policy.delayMax = .seconds(5)
        policy.attemptsMax = 4
        var all = Backoff(policy) { 0 }
        let delays: [Duration?] = [.seconds(1), .seconds(2), .seconds(4), .seconds(5), nil]
        for delay in delays { #expect(all.next() == delay) }
        all.succeeded()
        #expect(all.next() == .seconds(1))
        var least = Backoff(policy) { 1 }
        #expect(least.next() == .milliseconds(500))
    }

    @Test("a client that is told to end while it waits for the next attempt ends at once")
    func endsInPause() async throws {
        let configuration = MQTTClient.Configuration.test(ServerAddress(host: "127.0.0.1", port: 1)) {
            $0.reconnect.delay = .seconds(3_600)
            $0.reconnect.delayMax = .seconds(3_600)
        }
        let client = try MQTTClient(configuration, logger: quiet)
        let events = client.events
        let running = Task { try await client.run() }
        for await case .reconnecting in events { break }
        client.disconnect()
        try await within("the end") { try await running.value }
    }

    @Test("reconnect() ends the pause before the next attempt")
    func reconnects() async throws {
        let server = try await FakeServer()
        let configuration = MQTTClient.Configuration.test(server.address) {
            $0.reconnect.delay = .seconds(3_600)
            $0.reconnect.delayMax = .seconds(3_600)
        }
        try await withClient(configuration) { client in
            let events = client.events
            let first = try await server.connection()
            try await first.accept()
            first.close()
            for await case .reconnecting in events { break }
            client.reconnect()
            try await server.connection().accept()
            try await client.connected()
        }
    }
}
