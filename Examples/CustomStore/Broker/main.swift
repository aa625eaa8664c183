import CustomStore
import MQTTServer

/// A broker whose store is a file that people can read: what it has acknowledged is there however it ends.
///
///     custom-store [broker.store [1883]]
let arguments = CommandLine.arguments.dropFirst()
var configuration = BrokerConfiguration()
configuration.addresses = [.init(host: "localhost", port: arguments.dropFirst().first.flatMap { Int($0) } ?? 1883)]
let store = FileStore(path: arguments.first ?? "broker.store")
let broker = MQTTBroker(configuration: configuration, store: store)
try await broker.run()
