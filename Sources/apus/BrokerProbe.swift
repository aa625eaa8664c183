import Logging
import MQTT
import MQTTPackets
import NIOCore

/// Tries what a broker can do.
struct BrokerProbe: Sendable {
    struct Finding: Sendable {
        let name: String
        let value: String

        var line: String { name.leftAligned(28) + value }
        var jsonName: String { JSON.string(name) }
        var jsonValue: String {
            switch value {
            case "yes": "true"
            case "no": "false"
            default: UInt32(value).map(String.init) ?? JSON.string(value)
            }
        }
    }

    let options: ConnectionOptions
    let timeout: Duration
    let told: @Sendable (Finding) -> Void

    func run() async throws {
        var lastError: (any Error)?
        var spoken: [ProtocolVersion] = []
        for version in ProtocolVersion.allCases {
            do {
                try await withClient(version) { client in
                    spoken.append(version)
                    tell("\(version)", "yes")
                    if version == .v5 { tellLimits(try await client.connected()) }
                }
            } catch let error as MQTTError {
                // Nobody listens there: the next version would find the same.
                if case .connectFailed = error { throw error }
                lastError = error
                tell("\(version)", "no: \(error)")
            }
        }
        guard let newest = spoken.max() else { throw lastError ?? MQTTError.closed }
        try await tryMessages(newest)
        try await trySession(newest)
    }

    private func tell(_ name: String, _ value: String) { told(Finding(name: name, value: Printable.sentence(value))) }

    private func withClient(
        _ version: ProtocolVersion,
        clientID: String? = nil,
        _ body: (MQTTClient) async throws -> Void
    ) async throws {
        var configuration = try options.configuration()
        configuration.version = version
        configuration.connectTimeout = timeout
        configuration.reconnect = .never
        if version < .v5 { configuration.connectProperties = Properties() }
        if let clientID {
            configuration.clientID = clientID
            configuration.cleanStart = false
            configuration.sessionExpiry = .after(.seconds(60))
        }
        let logger = Logger(label: "check") { _ in SwiftLogNoOpLogHandler() }
        try await MQTTClient.withConnection(configuration, logger: logger, body)
    }

    /// What CONNACK of 5.0 says (section 3.2.2.3); what it leaves out has a default.
    private func tellLimits(_ connection: MQTTClient.Connection) {
        func isOn(_ identifier: PropertyIdentifier) -> String {
            connection.properties[integer: identifier] == 0 ? "no" : "yes"
        }
        func number(_ identifier: PropertyIdentifier, _ otherwise: String) -> String {
            connection.properties[integer: identifier].map(String.init) ?? otherwise
        }
        tell("maximum QoS", number(.maximumQoS, "2"))
        tell("retained messages", isOn(.retainAvailable))
        tell("wildcard subscriptions", isOn(.wildcardSubscriptionAvailable))
        tell("shared subscriptions", isOn(.sharedSubscriptionAvailable))
        tell("subscription identifiers", isOn(.subscriptionIdentifierAvailable))
        tell("receive maximum", number(.receiveMaximum, "65535"))
        tell("maximum packet size", number(.maximumPacketSize, "no limit"))
        tell("topic alias maximum", number(.topicAliasMaximum, "0"))
        tell("server keep alive", number(.serverKeepAlive, "as the client says"))
        tell("maximum session expiry", number(.sessionExpiryInterval, "as the client says"))
    }

    // MARK: Trying

    private func tryMessages(_ version: ProtocolVersion) async throws {
        let topic = "apus-check/" + String(UInt64.random(in: 0 ... .max), radix: 36)
        for qos in QoS.allCases {
            try await attempt("a message of QoS \(qos.rawValue)") {
                try await withClient(version) { client in
                    let messages = try await subscribe(client, "\(topic)/+", qos)
                    try await publish(client, "check", "\(topic)/q", qos)
                    let message = try await first(of: messages)
                    guard message.qos == qos else { throw CommandFailure("came with QoS \(message.qos.rawValue)") }
                }
            }
        }
        try await attempt("a retained message") {
            try await withClient(version) { client in
                try await publish(client, "check", "\(topic)/r", retain: true)
                let messages = try await subscribe(client, "\(topic)/r")
                guard try await first(of: messages).isRetained else { throw CommandFailure("came as one that is not") }
                try await publish(client, "", "\(topic)/r", retain: true)
            }
        }
        try await attempt("a shared subscription") {
            try await withClient(version) { client in
                let messages = try await subscribe(client, "$share/apus-check/\(topic)/s")
                try await publish(client, "check", "\(topic)/s")
                _ = try await first(of: messages)
            }
        }
    }

    private func trySession(_ version: ProtocolVersion) async throws {
        let clientID = "apus-check-" + String(UInt64.random(in: 0 ... .max), radix: 36)
        try await attempt("a session that is kept") {
            try await withClient(version, clientID: clientID) { _ in }
            try await withClient(version, clientID: clientID) { client in
                guard try await client.connected().sessionPresent else { throw CommandFailure("it was lost") }
                var end = Properties()
                end[integer: .sessionExpiryInterval] = 0
                try client.disconnect(properties: version == .v5 ? end : Properties())
            }
        }
        guard version < .v5 else { return }
        // Before 5.0 only a clean session ends one that is kept.
        var configuration = try options.configuration()
        configuration.version = version
        configuration.clientID = clientID
        configuration.reconnect = .never
        configuration.connectTimeout = timeout
        try await MQTTClient.withConnection(configuration) { _ in }
    }

    private func subscribe(
        _ client: MQTTClient,
        _ filter: String,
        _ qos: QoS = .atLeastOnce
    ) async throws -> MQTTSubscription {
        try await answered(within: timeout) { try await client.subscribe(to: filter, qos: qos) }
    }

    private func publish(
        _ client: MQTTClient,
        _ payload: String,
        _ topic: String,
        _ qos: QoS = .atLeastOnce,
        retain: Bool = false
    ) async throws {
        _ = try await answered(within: timeout) {
            try await client.publish(payload, to: topic, qos: qos, retain: retain)
        }
    }

    private func attempt(_ name: String, _ body: () async throws -> Void) async throws {
        do {
            try await body()
            tell(name, "yes")
        } catch let error as MQTTError {
            if error == .cancelled { throw error }
            tell(name, "no: \(error)")
        } catch let failure as CommandFailure {
            tell(name, "no: \(failure)")
        }
    }

    private func first(of messages: MQTTSubscription) async throws -> MQTTMessage {
        try await withThrowingTaskGroup(of: MQTTMessage?.self) { tasks in
            tasks.addTask {
                var iterator = messages.makeAsyncIterator()
                return await iterator.next()
            }
            tasks.addTask {
                try await Task.sleep(for: timeout)
                throw CommandFailure("it did not come in time")
            }
            defer { tasks.cancelAll() }
            guard let message = try await tasks.next() ?? nil else { throw MQTTError.closed }
            return message
        }
    }
}
