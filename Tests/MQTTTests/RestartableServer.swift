import Foundation
import MQTT
import MQTTJournal
import MQTTServer
import MQTTTesting

/// A server that ends and begins anew on the same port and with the same data: a broker of our own in this process, or
/// the program whose command line `MQTT_TEST_SERVER_COMMAND` gives, with `{port}` and `{dir}`, which is sent the signal of
/// `MQTT_TEST_SERVER_SIGNAL` (9 unless given).
final class RestartableServer {
    private static let variables = ProcessInfo.processInfo.environment

    private let directory = FileManager.default.temporaryDirectory.appending(path: "mqtt-\(UUID().uuidString)").path
    private var port = 0
    private var process: Process?
    private var running: Task<Void, any Error>?

    init() async throws {
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        if Self.command != nil { port = try await Self.freePort() }
        try await start()
    }

    var address: ServerAddress { ServerAddress(host: "127.0.0.1", port: port) }

    private static var command: String? { variables["MQTT_TEST_SERVER_COMMAND"] }

    /// One that the system has just given away and taken back.
    private static func freePort() async throws -> Int {
        let broker = testBroker()
        let running = Task { try await broker.run() }
        let port = try await broker.boundAddresses.first?.port ?? 0
        running.cancel()
        try await running.value
        return port
    }

    func start() async throws {
        guard let command = Self.command else {
            var configuration = BrokerConfiguration()
            configuration.addresses = [.init(host: "127.0.0.1", port: port)]
            configuration.threads = 1
            configuration.limits.queuedMessagesMax = 100_000
            let broker = MQTTBroker(configuration: configuration, store: Journal(directory: directory), logger: quiet)
            running = Task { try await broker.run() }
            port = try await broker.boundAddresses.first?.port ?? 0
            return
        }
        let words = command.split(separator: " ").map {
            $0.replacingOccurrences(of: "{port}", with: "\(port)").replacingOccurrences(of: "{dir}", with: directory)
        }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = words
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        self.process = process
        // One that is ended before it has read what it has kept may keep nothing.
        try await withClient(.test(address)) { _ = try await $0.connected() }
    }

    func stop() async throws {
        running?.cancel()
        _ = await running?.result
        running = nil
        guard let process else { return }
        kill(process.processIdentifier, Self.variables["MQTT_TEST_SERVER_SIGNAL"].flatMap(Int32.init) ?? SIGKILL)
        process.waitUntilExit()
        self.process = nil
    }

    /// Stops it for good.
    func discard() async throws {
        try await stop()
        try FileManager.default.removeItem(atPath: directory)
    }
}

/// As long as `body` takes.
func withRestartableServer(_ body: (RestartableServer) async throws -> Void) async throws {
    let server = try await RestartableServer()
    do {
        try await body(server)
    } catch {
        try await server.discard()
        throw error
    }
    try await server.discard()
}
