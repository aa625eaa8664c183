import MQTT

/// One client that answers, and one that asks: how long a text is.
///
///     request-response [mqtt://localhost]
@main struct RequestResponse {
    static func main() async throws {
        let url = CommandLine.arguments.dropFirst().first ?? "mqtt://localhost"
        try await MQTTClient.withConnection(url) { service in
            let requests = try await service.subscribe(to: "text/length", qos: .atLeastOnce)
            async let answering: Void = answer(requests, with: service)
            try await MQTTClient.withConnection(url) { client in
                for text in ["swift", "apus apus"] {
                    let response = try await client.request(
                        to: "text/length",
                        payload: ByteBuffer(string: text),
                        timeout: .seconds(10)
                    )
                    print("\(text): \(response.payloadString)")
                }
            }
            try await requests.unsubscribe()
            try await answering
        }
    }

    static func answer(_ requests: MQTTSubscription, with service: MQTTClient) async throws {
        for await request in requests {
            try await service.respond(to: request, with: ByteBuffer(string: "\(request.payloadString.utf8.count)"))
        }
    }
}
