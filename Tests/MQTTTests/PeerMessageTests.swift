import MQTT
import MQTTTesting
import Testing

private struct Reading: Codable, Sendable, Equatable {
    var celsius: Double
}

/// What goes with messages, with every server: see `PeerTests`.
@Suite(.timeLimit(.minutes(2))) struct PeerMessageTests {
    private let root = uniqueName()

    @Test("all properties of a message come with it, user properties in order and as often as they stand there")
    func properties() async throws {
        try await withServer { [root] server in
            try await MQTTClient.withConnection(.test(server), logger: quiet) { client in
                var properties = Properties()
                properties[integer: .payloadFormatIndicator] = 1
                properties[integer: .messageExpiryInterval] = 1_000
                properties[string: .contentType] = "text/plain; charset=utf-8"
                properties[string: .responseTopic] = "\(root)/Antwort/ä"
                properties[binary: .correlationData] = ByteBuffer(bytes: UInt8.min ... .max)
                for (name, value) in [("b", "1"), ("a", "2"), ("b", "3"), ("b", "1"), ("ä", "")] {
                    properties.appendUserProperty(name, value)
                }
                let subscription = try await client.subscribe(to: root, qos: .exactlyOnce)
                for qos in QoS.allCases {
                    try await client.publish("m", to: root, qos: qos, properties: properties)
                    let got = await subscription.first(1).first?.properties ?? Properties()
                    #expect((1...1_000).contains(got[integer: .messageExpiryInterval] ?? 0))
                    // A server may change the order of different properties.
                    #expect(got.elements.count == properties.elements.count)
                    #expect(got[integer: .payloadFormatIndicator] == 1)
                    for name in [PropertyIdentifier.contentType, .responseTopic] {
                        #expect(got[string: name] == properties[string: name])
                    }
                    #expect(got[binary: .correlationData] == properties[binary: .correlationData])
                    #expect(got.userProperties.map(\.name) == properties.userProperties.map(\.name))
                    #expect(got.userProperties.map(\.value) == properties.userProperties.map(\.value))
                }
            }
        }
    }

    @Test("before 5.0 properties are left out, also towards receivers of 5.0", arguments: ProtocolVersion.allCases)
    func noProperties(_ version: ProtocolVersion) async throws {
        try await withServer { [root] server in
            try await withClient(.test(server, "", version)) { sender in
                try await withClient(.test(server)) { receiver in
                    let subscription = try await receiver.subscribe(to: root, qos: .atLeastOnce)
                    var properties = Properties()
                    properties[string: .contentType] = "text/plain"
                    try await sender.publish("m", to: root, qos: .atLeastOnce, properties: properties)
                    let message = await subscription.first(1).first
                    #expect(message?.payloadString == "m")
                    #expect(message?.properties[string: .contentType] == (version == .v5 ? "text/plain" : nil))
                }
            }
        }
    }

    @Test(
        "[MQTT-3.3.2-5] [MQTT-3.3.2-6] a message that expires at the server does not come, and another comes with what is left"
    )
    func expiry() async throws {
        try await withServer { [root] server in
            let configuration = MQTTClient.Configuration.test(server, root).lasting
            try await MQTTClient.withConnection(configuration, logger: quiet) { client in
                let subscription = try await client.subscribe(to: root, qos: .atLeastOnce)
                client.disconnect()
                #expect(await subscription.first(1).isEmpty)
            }
            try await MQTTClient.withConnection(.test(server), logger: quiet) { sender in
                for seconds in [1, 1_000] as [UInt32] {
                    var properties = Properties()
                    properties[integer: .messageExpiryInterval] = seconds
                    try await sender.publish("\(seconds)", to: root, qos: .atLeastOnce, properties: properties)
                }
            }
            try await secondsPass(3, at: server)
            let client = try MQTTClient(configuration, logger: quiet)
            let messages = client.unclaimedMessages()
            let running = Task { try await client.run() }
            let message = await messages.first(1).first
            #expect(message?.payloadString == "1000")
            let left = message?.properties[integer: .messageExpiryInterval] ?? 0
            #expect(left > 0 && left < 1_000)
            try client.disconnect(properties: endingSession)
            try await running.value
        }
    }

    @Test("topics whose names are sent once, for an alias, are not mixed up, however few aliases the server takes")
    func aliasesToServer() async throws {
        try await withServer { [root] server in
            let topics = (0..<40).map { "\(root)/\($0)/" + String(repeating: "x", count: 200) }
            try await withClient(.test(server)) { receiver in
                let subscription = try await receiver.subscribe(to: "\(root)/#", qos: .atLeastOnce)
                let link = try await PeerLink(to: server)
                try await withClient(.test(link.address) { $0.automaticTopicAliasesMax = 20 }) { sender in
                    let most = try await sender.connected().properties[integer: .topicAliasMaximum] ?? 0
                    #expect(most > 1)
                    for topic in topics + topics { try await sender.publish("m", to: topic) }
                    #expect(await subscription.first(2 * topics.count).map(\.topic) == topics + topics)
                    let bytes = link.bytesToServer
                    for _ in 0..<50 {
                        for topic in topics.prefix(2) { try await sender.publish("m", to: topic) }
                    }
                    let alternating = (0..<50).flatMap { _ in topics.prefix(2) }
                    #expect(await subscription.first(alternating.count).map(\.topic) == alternating)
                    // Less than a topic for each ten messages.
                    #expect(link.bytesToServer - bytes < 10 * topics[0].utf8.count)
                }
            }
        }
    }

    // Mosquitto gives no aliases.
    @Test(
        "topics that the server gives aliases to are not mixed up, however few the client takes",
        arguments: [0, 1, 7, 100]
    )
    func aliasesToClient(_ count: Int) async throws {
        try await withServer { [root] server in
            let topics = (0..<20).map { "\(root)/\($0)/" + String(repeating: "x", count: 200) }
            let expected = topics + topics + Array(repeating: topics[0], count: 100)
            let link = try await PeerLink(to: server)
            try await withClient(.test(link.address) { $0.topicAliasesMax = count }) { receiver in
                let subscription = try await receiver.subscribe(to: "\(root)/#", qos: .atLeastOnce)
                try await withClient(.test(server)) { sender in
                    for topic in expected { try await sender.publish("m", to: topic, qos: .atLeastOnce) }
                }
                #expect(await subscription.first(expected.count).map(\.topic) == expected)
            }
            if !PeerServer.open.isForeign {
                #expect((link.bytesToClient < expected.count * topics[0].utf8.count) == (count > 0))
            }
        }
    }

    @Test("a request gets the response to it, among others that are asked at the same time")
    func response() async throws {
        try await withServer { [root] server in
            try await withClient(.test(server)) { answerer in
                let requests = try await answerer.subscribe(to: "\(root)/double", qos: .atLeastOnce)
                let answering = Task {
                    for await request in requests {
                        let number = Int(request.payloadString) ?? 0
                        try await answerer.respond(to: request, with: ByteBuffer(string: "\(2 * number)"))
                    }
                }
                try await withClient(.test(server) { $0.requestsResponseInformation = true }) { asker in
                    try await withThrowingTaskGroup(of: (Int, String).self) { tasks in
                        for number in 0..<20 {
                            tasks.addTask {
                                let payload = ByteBuffer(string: "\(number)")
                                let response = try await asker.request(to: "\(root)/double", payload: payload)
                                return (number, response.payloadString)
                            }
                        }
                        for try await (number, answer) in tasks { #expect(answer == "\(2 * number)") }
                    }
                }
                try await requests.unsubscribe()
                try await answering.value
            }
        }
    }

    @Test("a request that nobody answers times out, and one that nobody hears fails at once")
    func noResponse() async throws {
        try await withServer { [root] server in
            try await withClient(.test(server)) { client in
                await #expect(throws: MQTTError.publishRefused(.noMatchingSubscribers)) {
                    _ = try await client.request(to: "\(root)/nobody", payload: ByteBuffer())
                }
                let silent = try await client.subscribe(to: "\(root)/silent", qos: .atLeastOnce)
                await #expect(throws: MQTTError.requestTimedOut) {
                    let payload = ByteBuffer(string: "heard")
                    _ = try await client.request(to: "\(root)/silent", payload: payload, timeout: .milliseconds(200))
                }
                #expect(await silent.first(1).map(\.payloadString) == ["heard"])
            }
        }
    }

    @Test(
        "a value of a typed topic comes with the values of its placeholders, and what is no value as an error",
        arguments: ProtocolVersion.allCases
    )
    func typed(_ version: ProtocolVersion) async throws {
        try await withServer { [root] server in
            let topic = Topic<Reading>("\(root)/{house}/{room}/temperature")
            try await MQTTClient.withConnection(.test(server, "", version), logger: quiet) { client in
                let readings = try await client.subscribe(to: topic, qos: .exactlyOnce)
                let places = [["house": "ours", "room": "kitchen"], ["house": "ours", "room": "Bäder"]]
                for (at, place) in places.enumerated() {
                    try await client.publish(Reading(celsius: Double(at) + 0.5), to: topic, place, qos: .exactlyOnce)
                }
                try await client.publish("warm", to: "\(root)/a/b/temperature", qos: .exactlyOnce)
                let got = await readings.first(3)
                #expect(got.map(\.values) == places + [["house": "a", "room": "b"]])
                #expect(got.map { try? $0.payload.get() } == [Reading(celsius: 0.5), Reading(celsius: 1.5), nil])
                let type = version == .v5 ? "application/json" : nil
                #expect(got.map { $0.message.properties[string: .contentType] } == [type, type, nil])
                try await readings.unsubscribe()
                #expect(await readings.first(1).isEmpty)
            }
        }
    }
}
