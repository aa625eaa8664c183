import MQTT
import MQTTTesting
import Testing

/// What waited, and filters that are subscribed to anew, with every server: see `PeerTests`.
@Suite(.timeLimit(.minutes(2))) struct PeerOrderTests {
    private let root = uniqueName()

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
