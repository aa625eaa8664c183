import MQTTJournal
import MQTTServer
import NIOPosix

/// The code of the articles about the broker as a library.
enum Embedding {
    static func twoLines() async throws {
        let broker = MQTTBroker()
        try await broker.run()
    }

    static func tenLines() async throws {
        let broker = MQTTBroker()
        async let running: Void = broker.run()
        for await event in broker.events {
            switch event {
            case .clientConnected(let client): print("+ \(client.id)")
            case .published(let message, by: let client?):
                print("\(client.id) → \(message.topic): \(message.payloadString)")
            default: continue
            }
        }
        try await running
    }

    static func hostCode(_ broker: MQTTBroker) async throws {
        try await broker.publish("30", to: "/temperature", qos: .atLeastOnce, retain: true)
        try await broker.publish("for you alone", to: "news", qos: .atLeastOnce, clientID: "meter-17")

        for await message in try await broker.subscribe(to: "sensors/#", qos: .atLeastOnce) {
            print(message.topic, message.payloadString)
        }
    }

    static func channel(_ broker: MQTTBroker, _ descriptor: CInt) async throws {
        let loop = try await broker.eventLoops[0]
        let channel = try await NIOPipeBootstrap(group: loop)
            .channelOption(.autoRead, value: false)
            .takingOwnershipOfDescriptor(inputOutput: descriptor).get()
        try await broker.accept(channel)
    }

    static func hooks() -> MQTTBroker {
        var hooks = BrokerHooks()
        hooks.authenticate = { client, credentials in
            credentials?.password == "secret" ? .accepted : .rejected(.badUserNameOrPassword)
        }
        hooks.authorizePublish = { client, request in
            request.topic.hasPrefix("devices/\(client.id)/") ? .allow : .deny()
        }
        let broker = MQTTBroker(hooks: hooks)
        return broker
    }

    static func durable() async throws {
        let journal = Journal(directory: "data")
        let broker = MQTTBroker(store: journal)
        try await broker.run()
    }

    static func limits() -> MQTTBroker {
        var configuration = BrokerConfiguration()
        configuration.limits.queuedMessagesMax = 10_000
        configuration.limits.sendBufferBytesMax = 1 << 20
        configuration.queuePolicy = .dropOldest
        let broker = MQTTBroker(configuration: configuration)
        return broker
    }
}
