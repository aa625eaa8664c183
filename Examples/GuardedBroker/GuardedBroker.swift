import MQTTServer

/// A broker that knows its clients by name and password, and lets each publish below its own name only.
///
///     guarded-broker [port]
@main struct GuardedBroker {
    static let passwords = ["alice": "wonderland", "bob": "builder"]

    static func main() async throws {
        var hooks = BrokerHooks()
        hooks.authenticate = { _, credentials in
            guard let credentials, let name = credentials.username, let known = passwords[name] else {
                return .rejected(.badUserNameOrPassword)
            }
            return credentials.password == known ? .accepted : .rejected(.badUserNameOrPassword)
        }
        hooks.authorizePublish = { client, message in
            message.topic.hasPrefix("\(client.username ?? "")/") ? .allow : .deny()
        }
        hooks.authorizeSubscribe = { client, subscription in
            // All may read what all may read, at most at QoS 1.
            subscription.filter.hasPrefix("$SYS") ? .deny() : .allow(qosMax: .atLeastOnce)
        }
        var configuration = BrokerConfiguration()
        let port = CommandLine.arguments.dropFirst().first.flatMap { Int($0) } ?? 1883
        configuration.addresses = [.init(host: "localhost", port: port)]
        try await MQTTBroker(configuration: configuration, hooks: hooks).run()
    }
}
