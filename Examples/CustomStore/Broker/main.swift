import CustomStore
import MQTTServer

/// A broker on port 1883 of loopback that keeps what it acknowledges in `broker.store`, until it is killed.
let broker = MQTTBroker(store: FileStore(path: CommandLine.arguments.dropFirst().first ?? "broker.store"))
try await broker.run()
