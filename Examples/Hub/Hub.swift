import MQTTServer

@main
struct Hub {
    static func main() async throws {
        let broker = MQTTBroker(configuration: .init())  // loopback, port 1883
        try await broker.run()  // until its task is cancelled
    }
}
