import MQTTServer

/// A broker whose "acknowledged" means "in my database": each message is inserted into SQLite before its PUBACK or
/// PUBREC leaves. One that cannot be inserted is refused, which 5.0 clients are told.
///
/// A message may stand there twice: where the program was killed between the row and the acknowledgement, its client sends
/// it again.
///
///     APUS_ARCHIVE=1 swift run -c release archive 1883 messages.sqlite
@main struct Archive {
    static func main() async throws {
        guard CommandLine.arguments.count == 3, let port = Int(CommandLine.arguments[1]) else {
            throw Usage()
        }
        let database = try Database(path: CommandLine.arguments[2])
        var configuration = BrokerConfiguration()
        configuration.addresses = [.init(host: "localhost", port: port)]
        var hooks = BrokerHooks()
        hooks.published = { client, message in
            try await database.insert(message, from: client.id)
            return .acknowledge
        }
        try await MQTTBroker(configuration: configuration, hooks: hooks).run()
    }
}

struct Usage: Error, CustomStringConvertible {
    let description = "archive PORT DATABASE"
}
