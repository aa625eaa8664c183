import MQTT
import MQTTTesting
import Testing

/// Filters of one sequence that overlap, with every server: see `PeerTests`.
@Suite(.timeLimit(.minutes(2))) struct PeerOverlapTests {
    private let root = uniqueName()

    @Test("in 5.0, a sequence whose own filters overlap gets a message once")
    func overlappingInOne() async throws {
        try await withServer { [root] server in
            try await MQTTClient.withConnection(.test(server), logger: quiet) { client in
                let filters = ["#", "+/b", "a/b"].map { TopicSubscription("\(root)/\($0)", qos: .atLeastOnce) }
                let subscription = try await client.subscribe(to: filters)
                try await client.publish(["m", "end"], to: "\(root)/a/b")
                #expect(await subscription.payloads(before: "end") == ["m"])
            }
        }
    }

    @Test(
        "what waited for a connection is sent behind the filters that are subscribed to anew",
        arguments: QoS.allCases
    )
    func order(_ qos: QoS) async throws {
        try await withServer { [root] server in
            let link = try await PeerLink(to: server)
            var configuration = MQTTClient.Configuration.test(link.address)
            configuration.reconnect.delay = .seconds(3_600)
            configuration.reconnect.delayMax = .seconds(3_600)
            try await withClient(configuration) { client in
                let subscription = try await client.subscribe(to: root, qos: .exactlyOnce)
                let events = client.events
                link.cut()
                for await case .reconnecting in events { break }
                try await client.enqueue(ByteBuffer(string: "waited"), to: root, qos: qos)
                client.reconnect()
                #expect(await subscription.first(1).map(\.payloadString) == ["waited"])
            }
        }
    }
}
