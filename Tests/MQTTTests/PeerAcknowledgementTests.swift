import MQTT
import MQTTTesting
import Testing

/// Acknowledgement by hand, with every server: see `PeerTests`.
@Suite(.timeLimit(.minutes(2))) struct PeerAcknowledgementTests {
    private let root = uniqueName()

    private func lasting(_ server: ServerAddress, _ version: ProtocolVersion = .v5) -> MQTTClient.Configuration {
        .test(server, String(root.suffix(20)), version).lasting
    }

    // Mosquitto sends more than Receive Maximum says after the first acknowledgement, unless that is 1.
    @Test(
        "with as many unacknowledged messages as Receive Maximum says, the next comes for an acknowledgement",
        arguments: PeerServer.open.isForeign ? [1] : [1, 3],
        [QoS.atLeastOnce, .exactlyOnce]
    )
    func receiveMaximum(_ count: Int, _ qos: QoS) async throws {
        try await withServer { [root] server in
            try await withClient(.test(server) { $0.receiveMaximum = count }) { receiver in
                let subscription = try await receiver.subscribe(
                    to: [
                        TopicSubscription("\(root)/held", qos: qos),
                        TopicSubscription("\(root)/free", qos: .atMostOnce),
                    ],
                    acknowledging: .byHand
                )
                var held: [MQTTMessage] = []
                try await withClient(.test(server)) { sender in
                    for number in 0..<10 { try await sender.publish("\(number)", to: "\(root)/held", qos: qos) }
                    held = await subscription.first(count)
                    #expect(held.map(\.payloadString) == (0..<count).map(String.init))
                    // QoS 0 waits for nobody, and comes behind what came before it. That they were taken makes no room.
                    for payload in ["free", "still"] {
                        try await sender.publish(payload, to: "\(root)/free")
                        #expect(await subscription.first(1).map(\.payloadString) == [payload])
                    }
                }
                for number in count..<10 {
                    held[0].acknowledge()
                    held = held.dropFirst() + (await subscription.first(1))
                    try #require(held.count == count)
                    #expect(held.last?.payloadString == "\(number)")
                }
                for message in held { message.acknowledge() }
            }
        }
    }

    @Test(
        "what was not acknowledged comes again with the next run, marked as a duplicate; what was does not",
        arguments: ProtocolVersion.allCases,
        [QoS.atLeastOnce, .exactlyOnce]
    )
    func again(_ version: ProtocolVersion, _ qos: QoS) async throws {
        try await withServer { [root] server in
            let configuration = lasting(server, version)
            try await withClient(configuration) { client in
                let subscription = try await client.subscribe(to: root, qos: qos, acknowledging: .byHand)
                for number in 0..<3 { try await client.publish("\(number)", to: root, qos: qos) }
                let messages = await subscription.first(3)
                #expect(messages.map(\.payloadString) == ["0", "1", "2"])
                #expect(messages.allSatisfy { !$0.isDuplicate })
                messages[0].acknowledge()
                client.disconnect()
                #expect(await subscription.first(1).isEmpty)
            }
            let client = try MQTTClient(configuration, logger: quiet)
            let messages = client.unclaimedMessages()
            let running = Task { try await client.run() }
            let second = await messages.first(2)
            #expect(second.map(\.payloadString) == ["1", "2"])
            #expect(second.map(\.isDuplicate) == [true, true])
            try await client.publish("new", to: root, qos: qos)
            let third = await messages.first(1)
            #expect(third.map(\.payloadString) == ["new"])
            #expect(third.map(\.isDuplicate) == [false])
            try client.disconnect(properties: version == .v5 ? endingSession : Properties())
            try await running.value
        }
    }

    @Test(
        "where the connection breaks, QoS 1 that was not acknowledged comes again in the same run, and QoS 2 does not",
        arguments: ProtocolVersion.allCases,
        [QoS.atLeastOnce, .exactlyOnce]
    )
    func broken(_ version: ProtocolVersion, _ qos: QoS) async throws {
        try await withServer { [root] server in
            let link = try await PeerLink(to: server)
            try await withClient(lasting(link.address, version)) { client in
                let subscription = try await client.subscribe(to: root, qos: qos, acknowledging: .byHand)
                try await client.publish("m", to: root, qos: qos)
                let first = await subscription.first(1)
                #expect(first.map(\.payloadString) == ["m"])
                // An acknowledgement would have gone before it.
                try await client.publish(["between"], to: "\(root)/other")
                let events = client.events
                link.cut()
                await events.reconnection()
                try await client.publish("end", to: root, qos: qos)
                if qos == .atLeastOnce {
                    let again = await subscription.first(1)
                    #expect(again.map(\.payloadString) == ["m"])
                    #expect(again.map(\.isDuplicate) == [true])
                    again.first?.acknowledge()
                } else {
                    first.first?.acknowledge()
                }
                let last = await subscription.first(1)
                #expect(last.map(\.payloadString) == ["end"])
                last.first?.acknowledge()
                try client.disconnect(properties: version == .v5 ? endingSession : Properties())
            }
        }
    }

    // Before 5.0 there is no such answer: the message counts as taken.
    @Test(
        "a message that is refused by hand does not come again, and holds nothing back",
        arguments: ProtocolVersion.allCases,
        [QoS.atLeastOnce, .exactlyOnce]
    )
    func refused(_ version: ProtocolVersion, _ qos: QoS) async throws {
        try await withServer { [root] server in
            let configuration = lasting(server, version)
            try await withClient(configuration) { client in
                let subscription = try await client.subscribe(to: root, qos: qos, acknowledging: .byHand)
                for number in 0..<3 { try await client.publish("\(number)", to: root, qos: qos) }
                for await message in subscription {
                    message.acknowledge(message.payloadString == "1" ? .success : .quotaExceeded)
                    if message.payloadString == "2" { break }
                }
                client.disconnect()
                #expect(await subscription.first(1).isEmpty)
            }
            let client = try MQTTClient(configuration, logger: quiet)
            let messages = client.unclaimedMessages()
            let running = Task { try await client.run() }
            try await client.publish("new", to: root, qos: qos)
            #expect(await messages.first(1).map(\.payloadString) == ["new"])
            try client.disconnect(properties: version == .v5 ? endingSession : Properties())
            try await running.value
        }
    }
}
