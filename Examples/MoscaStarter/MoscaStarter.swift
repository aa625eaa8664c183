import Foundation
import MQTTServer

/// The program of mosca's documentation: starter.js, line for line.
@main struct MoscaStarter {
    static func main() async throws {
        var settings = BrokerConfiguration()
        settings.brokerID = "BROKER_1"
        settings.addresses = [
            .init(host: "localhost", port: ProcessInfo.processInfo.environment["PORT"].flatMap { Int($0) } ?? 1883)
        ]
        // mosca publishes to $SYS/BROKER_1/new/clients and the like, and its program prints that, too.
        settings.clientTopics = .mosca

        let server = MQTTBroker(configuration: settings)
        let events = server.events
        async let running: Void = server.run()

        _ = try await server.boundAddresses
        say("Mosca server is up and running")

        for await event in events {
            switch event {
            case .clientConnected(let client):
                say("client connected \(client.id)")

            // told when a message is received
            case .published(let message, let client):
                say("Published \(client == nil ? message.payloadString : inspect(message.payload))")

            default: continue
            }
        }
        try await running
    }

    /// As Node.js prints the bytes that a client has sent.
    private static func inspect(_ payload: ByteBuffer) -> String {
        let bytes = payload.readableBytesView.prefix(50).map { " " + ($0 < 16 ? "0" : "") + String($0, radix: 16) }
        let left = payload.readableBytes - bytes.count
        return "<Buffer\(bytes.joined())\(left > 0 ? " ... \(left) more byte\(left > 1 ? "s" : "")" : "")>"
    }

    /// At once, also where the output is a pipe.
    private static func say(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }
}
