import Foundation
import MQTTServer

/// The program that many begin with, for aedes: starter.js, line for line.
@main struct AedesStarter {
    static func main() async throws {
        let port = ProcessInfo.processInfo.environment["PORT"].flatMap { Int($0) } ?? 1883
        var configuration = BrokerConfiguration()
        configuration.brokerID = "BROKER_1"
        configuration.addresses = [.init(host: "localhost", port: port)]
        let (broker, id) = (MQTTBroker(configuration: configuration), "BROKER_1")
        let events = broker.events
        async let running: Void = broker.run()

        _ = try await broker.boundAddresses
        say("server started and listening on port \(port)")

        for await event in events {
            switch event {
            case .clientConnected(let client):
                say("client \(client.id) connected to broker \(id)")

            case .clientDisconnected(let client, _):
                say("client \(client.id) disconnected from broker \(id)")

            case .subscribed(let client, let subscriptions):
                say("client \(client.id) subscribed to topics: \(subscriptions.map(\.filter).joined(separator: ","))")

            case .unsubscribed(let client, let filters):
                say("client \(client.id) unsubscribed from topics: \(filters.joined(separator: ","))")

            case .published(let message, let client?):
                say("client \(client.id) published to \(message.topic): \(message.payloadString)")

            default: continue
            }
        }
        try await running
    }

    /// At once, also where the output is a pipe.
    private static func say(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }
}
