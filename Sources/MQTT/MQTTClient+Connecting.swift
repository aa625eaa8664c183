import Logging
import MQTTPackets
import NIOCore
import NIOPosix

extension MQTTClient {
    /// Runs a client for as long as `body` takes, connected from its first line on; ends it with DISCONNECT.
    ///
    /// Throws where the first attempt at each of the configuration's servers fails. A connection that is lost later is made again, as the
    /// configuration says; once that is given up, what `body` calls throws and its sequences end, and the cause is
    /// thrown from here unless `body` throws itself.
    @discardableResult
    public static func withConnection<Value>(
        _ configuration: Configuration,
        eventLoopGroup: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        logger: Logger = Logger(label: "mqtt"),
        isolation: isolated (any Actor)? = #isolation,
        _ body: (MQTTClient) async throws -> Value
    ) async throws -> Value {
        let client = try MQTTClient(configuration, eventLoopGroup: eventLoopGroup, logger: logger)
        return try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await client.run(isPatient: false) }
            defer { client.disconnect() }
            try await client.connected()
            let value = try await body(client)
            client.disconnect()
            try await tasks.waitForAll()
            return value
        }
    }

    /// The same for a server by its URL: `mqtt://user:password@host:1883`.
    @discardableResult
    public static func withConnection<Value>(
        _ url: String,
        isolation: isolated (any Actor)? = #isolation,
        _ body: (MQTTClient) async throws -> Value
    ) async throws -> Value {
        try await withConnection(Configuration(url), isolation: isolation, body)
    }

    /// Shows the server new credentials on the living connection (MQTT 5.0, section 4.12.1): the authenticator begins
    /// anew. `Event.reauthenticated` tells that the server has accepted; where it does not it closes the connection.
    public func reauthenticate() async throws {
        guard let authenticator = configuration.authenticator else {
            throw MQTTError.invalidArgument("re-authentication needs an authenticator")
        }
        guard case .connected = connectionState else { throw MQTTError.notConnected }
        let data = try await authenticator.initialData()
        outbox.perform { $0.sendAuth(.reAuthenticate, authenticator.method, data) }
    }
}
